"""Workers and queues as the run store and the broker have them; no worker runs here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from milepost.checkpointing import Misconfigured
from milepost.tasks import Head, Milepost, TaskSettings
from milepost.worker.errors import UnknownWorker
from milepost.worker.fleet import Fleet, WorkerReport
from milepost.worker.queue_age import QueueAges
from milepost.worker.settings import WorkerSettings
from support.waiting import eventually
from unit.worker.test_reports import REPORT


def define(app: Milepost) -> Milepost:
    line = app.pipeline("line")
    line.stage(name="first")(_same)
    line.stage(name="second", queue="heavy", priority=6)(_same)
    return app


def _same(state: dict[str, Any]) -> dict[str, Any]:
    return state


@pytest.fixture
def app(redis_url: str) -> Iterator[Milepost]:
    settings = TaskSettings(heartbeat_lapse_seconds=30, patience_seconds=0.05)
    with closing(define(Milepost(redis_url, settings=settings))) as app:
        yield app


@pytest.fixture(params=["redis_url", "postgres_url"])
def anywhere(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Milepost]:
    """Reports are kept in either run store."""
    runs: str = request.getfixturevalue(request.param)
    settings = TaskSettings(heartbeat_lapse_seconds=30)
    with closing(define(Milepost(redis_url, runs=runs, settings=settings))) as app:
        yield app


def reported(app: Milepost, **changes: Any) -> WorkerReport:
    """Write a report as a worker does."""
    now = app.runs.now()
    report = replace(REPORT, **{"started_at": now, "seen_at": now, **changes})
    app.runs.keep("worker", report.key, report.to_json())
    return report


def test_a_worker_falls_silent_and_is_forgotten(anywhere: Milepost) -> None:
    app = anywhere
    up, silent, long_gone = (
        reported(app, pid=pid, seen_at=app.runs.now() - ago)
        for pid, ago in ((1, 0), (2, 60_000), (3, 400_000))
    )
    app.runs.keep("drain", long_gone.key, "{}")
    app.runs.keep("worker", "garbage", "[]")

    found = Fleet(app, WorkerSettings(forget_worker_seconds=300)).workers()

    assert found == [up, replace(silent, state="silent")]
    assert long_gone.key not in app.runs.kept("worker")
    assert app.runs.kept("drain") == {}


def test_an_order_to_leave_is_for_one_life_of_a_worker(anywhere: Milepost) -> None:
    app, fleet = anywhere, Fleet(anywhere)
    first = reported(app)
    told = fleet.drain(first.name, "ann")
    assert told == [first]
    assert [worker.state for worker in fleet.workers()] == ["draining"]

    reported(app, started_at=first.started_at + 1)

    assert [worker.state for worker in fleet.workers()] == ["up"]
    assert [(n.by, n.command, n.detail) for n in app.runs.notes()] == [("ann", "drain", first.name)]


def test_who_is_not_up_cannot_be_drained(app: Milepost) -> None:
    reported(app, name="silent@there", seen_at=app.runs.now() - 60_000)
    reported(app, name="up@here")

    for name in ("silent@there", "nobody@nowhere"):
        with pytest.raises(
            UnknownWorker, match=f"No worker {name} is up in .*; there are: up@here"
        ):
            Fleet(app).drain(name, "ann")
    assert app.runs.kept("drain") == {}


def test_a_queue_is_paused_once_and_resumed(anywhere: Milepost) -> None:
    app, fleet = anywhere, Fleet(anywhere)
    fleet.pause_queue("heavy", "ann")
    fleet.pause_queue("heavy", "bob")
    assert fleet.paused_queues() == {"heavy": "ann"}

    fleet.resume_queue("heavy", "bob")
    fleet.resume_queue("heavy", "bob")

    assert fleet.paused_queues() == {}
    notes = [f"{note.by} {note.command}" for note in reversed(app.runs.notes())]
    assert notes == [
        "ann pause-queue",
        "bob pause-queue",
        "bob resume-queue",
        "bob resume-queue",
    ]


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 300])
def test_what_is_no_name_of_a_queue(app: Milepost, name: str) -> None:
    with pytest.raises(Misconfigured, match="is no name of a queue"):
        Fleet(app).pause_queue(name, "ann")
    assert app.runs.kept("queue") == {}


def test_queues_are_those_served_routed_and_paused(app: Milepost) -> None:
    reported(app, pid=1, queues=("milepost", "extra"), concurrency=4, busy={"milepost": 3})
    reported(
        app, pid=2, queues=("milepost",), concurrency=2, state="draining", busy={"milepost": 1}
    )
    reported(app, pid=3, queues=("milepost",), seen_at=0)
    fleet = Fleet(app)
    fleet.pause_queue("closed", "ann")

    found = {queue.name: queue for queue in fleet.queues()}

    assert [*found] == ["closed", "extra", "heavy", "milepost"]
    assert (found["closed"].paused, found["closed"].paused_by) == (True, "ann")
    busy = found["milepost"]
    assert (busy.workers, busy.running, busy.capacity) == (1, 4, 4)
    assert (found["heavy"].workers, found["heavy"].depth, found["heavy"].age_seconds) == (0, 0, 0.0)


def test_depth_counts_and_age_regards_all_priorities(app: Milepost) -> None:
    """The oldest message may be the least urgent."""
    line = app.pipelines["line"]
    old = line.start({}, priority=9).head
    eventually(lambda: app.runs.now() > old.published_at + 300, 5)
    for _ in range(3):
        line.start({}, priority=0)

    [queue] = [queue for queue in Fleet(app).queues() if queue.name == "milepost"]

    assert queue.depth == 4
    assert queue.age_seconds is not None
    assert 0.3 <= queue.age_seconds < 60


def test_what_is_no_message_of_a_run_has_no_age(app: Milepost, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.rpush("milepost", b"\xff", b"{}", json.dumps({"headers": {}, "body": "!"}))
    [queue] = [queue for queue in Fleet(app).queues() if queue.name == "milepost"]
    assert (queue.depth, queue.age_seconds) == (3, None)

    run = app.pipelines["line"].start({})
    with redis.Redis.from_url(redis_url) as client:
        client.ltrim("milepost", 0, 2)
    [queue] = [queue for queue in Fleet(app).queues() if queue.name == "milepost"]
    assert queue.age_seconds is not None

    run.cancel()
    [queue] = [queue for queue in Fleet(app).queues() if queue.name == "milepost"]
    assert (queue.depth, queue.age_seconds) == (3, None)


def test_a_prefix_of_the_brokers_keys_is_regarded(redis_url: str) -> None:
    app = Milepost(redis_url)
    app.celery.conf.broker_transport_options |= {"global_keyprefix": "mine:"}
    with closing(define(app)) as app:
        app.pipelines["line"].start({})
        [queue] = [queue for queue in Fleet(app).queues() if queue.name == "milepost"]

    assert queue.depth == 1
    assert queue.age_seconds is not None


def test_looking_at_a_queue_costs_the_same_with_any_backlog(app: Milepost, redis_url: str) -> None:
    """Commands are counted, and what they give back."""
    line = app.pipelines["line"]

    def cost() -> int:
        with redis.Redis.from_url(redis_url) as client:
            before = client.info("stats")
            Fleet(app).queues()
            after = client.info("stats")
        return int(after["total_commands_processed"] - before["total_commands_processed"])

    line.start_many([{}] * 20)
    few = cost()
    line.start_many([{}] * 2_000)

    assert cost() <= few + 2


def test_waiting_runs_of_a_paused_queue_are_not_published_again(
    app: Milepost, redis_url: str
) -> None:
    """However often the reconciler looks: a message that waits is not lost."""
    Fleet(app).pause_queue("milepost", "ann")
    runs = app.pipelines["line"].start_many([{}] * 5)
    look = app.runtime.reconciler.look

    def patient() -> bool:
        assert look() == 0
        return all(run.head.patience_ms >= 400 for run in runs)

    eventually(patient, 20, "three looks at each run")
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("milepost") == 5


def test_a_message_lost_from_a_paused_queue_is_made_again_once(
    app: Milepost, redis_url: str
) -> None:
    Fleet(app).pause_queue("milepost", "ann")
    run = app.pipelines["line"].start({})
    with redis.Redis.from_url(redis_url) as client:
        client.delete("milepost")

        def patient() -> Head | None:
            app.runtime.reconciler.look()
            return run.head if run.head.patience_ms >= 400 else None

        eventually(patient, 20, "three looks at the run")
        assert client.llen("milepost") == 1


def test_age_and_depth_where_the_broker_is_rabbitmq(rabbitmq_url: str, redis_url: str) -> None:
    app = Milepost(rabbitmq_url, runs=redis_url)
    mine = app.celery.conf.task_default_queue = f"test-{uuid4().hex}"
    with closing(define(app)) as app:
        [empty] = [queue for queue in Fleet(app).queues() if queue.name == mine]
        assert (empty.depth, empty.age_seconds) == (0, 0.0)
        first = app.pipelines["line"].start({}).head
        app.pipelines["line"].start_many([{}] * 3)
        eventually(lambda: app.runtime.dispatch.waiting(mine) == 4, 10)

        [queue] = [queue for queue in Fleet(app).queues() if queue.name == mine]

        assert queue.depth == 4
        assert queue.age_seconds == pytest.approx(
            (app.runs.now() - app.run(first.run_id).head.published_at) / 1000, abs=1
        )
        app.celery.close()


def test_a_broker_that_is_away_says_nothing_of_depth(redis_url: str) -> None:
    with closing(define(Milepost("redis://127.0.0.1:1/0", runs=redis_url))) as app:
        app.celery.conf.broker_transport_options |= {"socket_connect_timeout": 0.2}
        assert {queue.depth for queue in Fleet(app).queues()} == {None}
        assert QueueAges(app).seconds("milepost", None) is None


def test_the_commands(app: Milepost, redis_url: str, tmp_path: Path) -> None:
    # Seen in the future: commands take their time on a busy machine.
    seen_at = app.runs.now() + 60_000
    reported(app, holding=("run-1",), queues=("heavy", "milepost"), seen_at=seen_at)
    app.pipelines["line"].start_many([{}] * 3)

    def milepost(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "milepost.control.cli", *words],
            cwd=tmp_path,
            env={**os.environ, "MILEPOST_URL": redis_url, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "celery@here" in milepost("workers")
    [worker] = map(json.loads, milepost("workers", "--json").splitlines())
    assert (worker["name"], worker["holding"], worker["state"]) == ("celery@here", ["run-1"], "up")
    assert "is paused (1 worker takes from it when it is resumed)" in milepost(
        "queues", "pause", "milepost"
    )
    heavy, default = map(json.loads, milepost("queues", "--json").splitlines())
    assert (heavy["name"], heavy["depth"], heavy["capacity"], heavy["paused"]) == (
        "heavy",
        0,
        2,
        False,
    )
    assert (default["name"], default["depth"], default["paused"]) == ("milepost", 3, True)
    assert default["age_seconds"] > 0
    [row] = [line.split() for line in milepost("queues").splitlines() if "milepost" in line]
    assert (row[0], row[1], row[-1]) == ("milepost", "3", default["paused_by"])
    assert milepost("queues", "resume", "milepost") == "milepost: 1 worker takes from it\n"
