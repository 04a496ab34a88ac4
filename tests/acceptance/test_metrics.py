"""What workers count, in each pool, and through the death of their processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from acceptance.arena import Arena
from acceptance.pipelines import STAGES, Trail
from milepost.worker.metrics import CATALOGUE
from support.processes import Pool, Worker
from support.shell import milepost
from support.status_page import StatusPage
from support.waiting import eventually

TRIES = "milepost_stage_tries_total"
KNOWN = frozenset().union(*(metric.series for metric in CATALOGUE if metric.source == "worker"))


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    with Arena(tmp_path) as arena:
        yield arena


@pytest.mark.fault("S18")
@pytest.mark.parametrize("pool", get_args(Pool))
def test_each_pool_counts(arena: Arena, pool: Pool) -> None:
    """Commits, durations and bytes by stage; nothing by run; only what the catalogue knows."""
    page = StatusPage()
    env = {**page.env, "TMPDIR": str(arena.folder)}
    with arena.worker(pool, concurrency=1 if pool == "solo" else 2, env=env) as worker:
        eventually(page.is_up, 30, worker.text)
        with arena.app() as app:
            runs = [app.start("relay", Trail()) for _ in range(5)]
            for run in runs:
                run.wait(30)
        for stage in STAGES:
            assert page.value(TRIES, pipeline="relay", stage=stage, outcome="committed") == 5
            assert page.value("milepost_stage_duration_seconds_count", stage=stage) == 5
            assert page.value("milepost_checkpoint_bytes_total", stage=stage) > 500
        assert page.value("milepost_stage_duration_seconds_sum") > 0
        eventually(lambda: page.value("milepost_reconciler_looks_total", outcome="done") > 2)
        assert page.value("milepost_worker_ready") == 1
        text = page.get("/metrics")[1]
        assert not [run.id for run in runs if run.id in text]
        ours = {name for name in page.names() if name.startswith("milepost_")}
        assert {name for name in ours if not name.endswith("_created")} <= KNOWN
        assert page.get("/healthz") == (200, '{"ok": true}\n')
        assert page.get("/")[0] == 404
        worker.terminate()
        worker.wait_exit()
    assert not [*arena.folder.rglob("metrics-*")], "the folder of shared values is left"


def test_nothing_is_lost_when_a_process_is_killed(arena: Arena) -> None:
    """What it had counted stays, is added up, and the recovery is counted with its cause."""
    page = StatusPage()
    trap = arena.trap("inside", stage="third", action="kill")
    with arena.worker(env={**page.env, **trap.env}) as worker, arena.app() as app:
        worker.wait_ready()
        assert app.start("relay", Trail()).wait(30).state == Trail(done=[*STAGES])
        for stage in STAGES:
            assert page.value(TRIES, stage=stage, outcome="committed") == 1
        assert page.value("milepost_recoveries_total", stage="third", cause="child") == 1
        assert page.value("milepost_recoveries_total") == 1
        folder = next(arena.folder.rglob("metrics-*"))
        assert trap.wait_reached() not in {
            int(path.stem.rpartition("_")[2]) for path in folder.glob("*.db")
        }
        assert (folder / "counter_0.db").is_file()
        worker.kill_group()
    with arena.worker(env=page.env) as worker:
        eventually(page.is_up, 30, worker.text)
        assert page.value(TRIES) == 0
        assert len([*arena.folder.rglob("metrics-*")]) == 1, (
            "what the killed worker left is removed"
        )
        assert not folder.exists()


def test_dead_letters_of_both_kinds(arena: Arena) -> None:
    """A stage that kills its process each time, and what no task can be made of."""
    page = StatusPage()
    with arena.worker(env=page.env) as worker, arena.app() as app:
        worker.wait_ready()
        run = app.start("poison", Trail())
        eventually(lambda: run.status == "failed", 30, worker.text)
        dead = "milepost_runs_dead_lettered_total"
        eventually(lambda: page.value(dead, pipeline="poison", cause="crash") == 1)
        assert page.value("milepost_recoveries_total", pipeline="poison", cause="child") == 2
        arena.broker.lpush("milepost", "no message")
        eventually(lambda: page.value("milepost_messages_put_aside_total") == 1)


def test_health_when_the_broker_goes(arena: Arena) -> None:
    """The worker lives, and is not ready, until it is there again; then it says that it stops."""
    page = StatusPage()
    with arena.worker(env=page.env) as worker:
        eventually(page.is_up, 30, worker.text)
        arena.server.kill()
        eventually(lambda: page.get("/readyz")[0] == 503, 30, worker.text)
        assert page.get("/healthz")[0] == 200
        eventually(lambda: page.value("milepost_reconciler_looks_total", outcome="failed") > 0, 60)
        arena.server.start()
        eventually(page.is_up, 60, worker.text)
        worker.terminate()
        worker.wait_exit()
        assert page.get("/readyz")[0] == 0


OWN = """
from prometheus_client import Counter
from milepost.tasks import Milepost

app = Milepost()
orders = Counter("shop_orders", "Theirs.")


@app.pipeline("shop").stage
def order(state: dict) -> dict:
    orders.inc()
    return state
"""


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_metrics_of_the_application(arena: Arena, pool: Pool) -> None:
    """They are on the page as well; a folder that somebody named is used, and left to him."""
    page, shared = StatusPage(), arena.folder / "shared"
    shared.mkdir()
    (arena.folder / "own_app.py").write_text(OWN)
    given = {"PROMETHEUS_MULTIPROC_DIR": str(shared)} if pool == "prefork" else {}
    with Worker("own_app", arena.folder, {**arena.env, **page.env, **given}, pool=pool) as worker:
        worker.wait_ready()
        words = ("start", "shop", "{}", "-A", "own_app", "--watch")
        assert milepost(arena.folder, arena.env, *words).returncode == 0
        assert page.value("shop_orders_total") == 1
        assert page.value(TRIES, pipeline="shop", outcome="committed") == 1
        worker.terminate()
        worker.wait_exit()
    assert bool([*shared.glob("*.db")]) == bool(given)


def test_a_port_that_is_taken(arena: Arena) -> None:
    """One sentence, and no worker that nobody sees."""
    page = StatusPage()
    with arena.worker(env=page.env) as first:
        first.wait_ready()
        with arena.worker(env=page.env) as second:
            assert second.wait_exit() != 0
            assert f"Metrics cannot be served at 127.0.0.1:{page.port}" in second.text()
            assert "Traceback" not in second.text()


def test_without_a_port_nothing_is_loaded(arena: Arena) -> None:
    """Who does not ask for metrics does not pay for them, not even the import."""
    with arena.worker() as worker, arena.app() as app:
        worker.wait_ready()
        app.start("relay", Trail()).wait(30)
        maps = [Path(f"/proc/{pid}/maps").read_text() for pid in (worker.pid, *worker.children)]
        assert not [text for text in maps if "metrics-" in text]
        assert not [*arena.folder.rglob("metrics-*")]
