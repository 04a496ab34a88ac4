"""A fleet of real workers: seen, drained, killed, and told to leave a queue alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from acceptance.arena import APP, Arena, Rescuer
from acceptance.pipelines import STAGES, Trail
from milepost.tasks import Milepost, RunStatus
from milepost.worker.fleet import Fleet, WorkerReport
from milepost.worker.settings import WorkerSettings
from support.processes import Pool
from support.waiting import eventually

DONE = Trail(done=[*STAGES])
ALL_POOLS: list[Pool] = ["prefork", "threads", "solo"]
POOLS = pytest.mark.parametrize("pool", ALL_POOLS)


@pytest.fixture(params=["Redis", "PostgreSQL"])
def any_arena(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arena]:
    """Orders and reports travel through the run store, wherever it is."""
    env: Mapping[str, str] = {}
    if request.param == "PostgreSQL":
        env = {"MILEPOST_RUNS": request.getfixturevalue("postgres_url")}
    with Arena(tmp_path, env=env) as arena:
        yield arena


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    with Arena(tmp_path) as arena:
        yield arena


@pytest.fixture
def app(arena: Arena) -> Iterator[Milepost]:
    with arena.app() as app:
        yield app


def the_worker(app: Milepost, name: str) -> WorkerReport | None:
    return next((worker for worker in Fleet(app).workers() if worker.name == name), None)


def executions(arena: Arena) -> list[tuple[str, str]]:
    """Run and stage of every execution of a stage's body."""
    effects = map(json.loads, arena.ledger.path.read_text().splitlines())
    return [(effect["run"], effect["stage"]) for effect in effects]


def milepost(arena: Arena, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "milepost.control.cli", *words],
        cwd=arena.folder,
        env={**os.environ, **arena.env, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=90,
    )


@POOLS
def test_a_worker_says_what_it_is_and_holds(any_arena: Arena, pool: Pool) -> None:
    with any_arena.app() as app, ExitStack() as stack:
        trap = any_arena.trap("inside")
        worker = stack.enter_context(any_arena.worker(pool, env=trap.env)).wait_ready()
        run = app.start("relay", Trail())
        trap.wait_reached()

        seen = eventually(
            lambda: (w := the_worker(app, worker.name)) and w.holding and w, 10, "what it holds"
        )

        assert isinstance(seen, WorkerReport)
        assert (seen.pid, seen.pool, seen.concurrency, seen.state) == (worker.pid, pool, 1, "up")
        assert (seen.queues, seen.holding) == (("milepost",), (run.id,))
        assert seen.versions["relay"] == "1"
        assert abs(app.runs.now() - seen.seen_at) < 5_000
        [queue] = Fleet(app).queues()
        assert (queue.name, queue.workers, queue.running, queue.capacity) == ("milepost", 1, 1, 1)
        shown = milepost(any_arena, "workers", "-A", APP)
        assert shown.returncode == 0, shown.stderr
        assert worker.name in shown.stdout

        trap.release()
        run.wait(15)
        worker.terminate()
        assert worker.wait_exit() == 0
        assert Fleet(app).workers() == []


def test_a_killed_worker_is_silent_and_then_forgotten(arena: Arena, app: Milepost) -> None:
    fleet = Fleet(app, WorkerSettings(forget_worker_seconds=4))
    with arena.worker() as worker:
        worker.wait_ready()
        eventually(lambda: the_worker(app, worker.name), 10, "its report")
        worker.kill_group()
        states = [fleet.workers()[0].state]

        def gone() -> bool:
            found = fleet.workers()
            states.extend(w.state for w in found if w.state != states[-1])
            return not found

        eventually(gone, 20, "the worker forgotten")
        assert states == ["up", "silent"]
        assert app.runs.kept("worker") == {}


def test_a_queue_is_paused_and_resumed_under_load(arena: Arena, app: Milepost) -> None:
    """No stage is lost or run twice, and what waits is not published again."""

    def still(status: RunStatus) -> int:
        return app.runs.counts().get(("relay", status), 0)

    def stands_still() -> int:
        """How many runs wait, if nobody runs or has fetched one: all counted at one time."""
        counts = app.runs.counts()
        queued = counts.pop(("relay", RunStatus.QUEUED), 0)
        counts.pop(("relay", RunStatus.COMPLETED), 0)
        waits = queued == app.runtime.dispatch.waiting("milepost")
        return queued if waits and not counts else 0

    with ExitStack() as stack:
        for pool in ALL_POOLS:
            stack.enter_context(arena.worker(pool, 1 if pool == "solo" else 2)).wait_ready()
        runs = app.pipelines["relay"].start_many([Trail()] * 1_000)
        eventually(lambda: still(RunStatus.RUNNING), 30, "the load under way")
        Fleet(app).pause_queue("milepost", "ann")
        waiting = eventually(stands_still, 15, "all that is open waiting on the queue")
        assert waiting > 100, "the queue was paused too late to prove anything"
        ran_before = len(executions(arena))

        stack.enter_context(arena.worker("threads")).wait_ready()
        late = app.start("relay", Trail())
        eventually(lambda: late.head.patience_ms >= 4_000, 20, "looks at what waits")
        assert stands_still() == waiting + 1
        assert len(executions(arena)) == ran_before
        [queue] = Fleet(app).queues()
        assert (queue.depth, queue.workers, queue.running) == (waiting + 1, 4, 0)

        assert milepost(arena, "queues", "resume", "milepost", "-A", APP).returncode == 0
        eventually(lambda: still(RunStatus.COMPLETED) == len(runs) + 1, 60, "all runs completed")
    assert Counter(executions(arena)) == {
        (run.id, stage): 1 for run in (*runs, late) for stage in STAGES
    }


def test_one_queue_is_paused_and_others_go_on(arena: Arena) -> None:
    with arena.app("other") as app, arena.worker() as worker:
        worker.wait_ready()
        Rescuer(worker).take_over(app, "other")
        Fleet(app).pause_queue("milepost", "ann")
        worker.wait_for_log("Queue milepost is paused.")
        run = app.start("relay", Trail())
        # The worker's own stages go to its default queue, which is paused.
        eventually(lambda: run.head.stages_done == 1, 10, "the first stage, from the other queue")
        eventually(lambda: run.head.patience_ms >= 2_000, 10, "a look at what waits")
        assert run.head.stages_done == 1

        Fleet(app).resume_queue("milepost", "ann")

        assert run.wait(15).state == DONE


@POOLS
def test_drain_in_the_middle_of_a_stage_while_others_go_on(
    arena: Arena, app: Milepost, pool: Pool
) -> None:
    """A stage in progress ends in its grace period; everything else goes elsewhere."""
    trap = arena.trap("inside")
    with ExitStack() as stack:
        leaving = stack.enter_context(arena.worker(pool, env=trap.env)).wait_ready()
        run = app.start("relay", Trail())
        trap.wait_reached()
        other = stack.enter_context(arena.worker("threads", 2)).wait_ready()
        Fleet(app).drain(leaving.name, "ann")
        leaving.wait_for_log("Draining, as told by ann.")
        eventually(
            lambda: (w := the_worker(app, leaving.name)) and w.state == "draining", 5, "it drains"
        )

        more = [app.start("relay", Trail()) for _ in range(10)]
        for one in more:
            assert one.wait(20).state == DONE

        assert leaving.exit_code is None
        assert run.status is RunStatus.RUNNING
        trap.release()
        assert leaving.wait_exit() == 0
        for one in (run, *more):
            arena.checker(app).judge(one, state=DONE, stages=STAGES, executions={})
        assert {w.name for w in Fleet(app).workers()} == {other.name}
        assert app.runs.kept("drain") == {}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_drain_hands_back_what_does_not_end_in_time(
    arena: Arena, app: Milepost, pool: Pool
) -> None:
    """The command waits until the worker is gone, and another worker has the stage."""
    trap = arena.trap("inside")
    env = {**trap.env, "MILEPOST_GRACE_SECONDS": "1"}
    with ExitStack() as stack:
        leaving = stack.enter_context(arena.worker(pool, env=env)).wait_ready()
        run = app.start("relay", Trail())
        trap.wait_reached()
        stack.enter_context(arena.worker("threads")).wait_ready()

        done = milepost(arena, "drain", leaving.name, "-A", APP, "--timeout", "30s", "--json")

        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"name": leaving.name, "pid": leaving.pid, "left": True}
        leaving.wait_exit()
        arena.checker(app).judge(run, state=DONE, stages=STAGES, executions={"second": {1, 2}})
        assert run.head.crashes + run.head.suspicions == 0


def test_drain_of_one_that_stays_is_not_in_time(arena: Arena, app: Milepost) -> None:
    trap = arena.trap("inside")
    with arena.worker(env=trap.env) as worker:
        worker.wait_ready()
        app.start("relay", Trail())
        trap.wait_reached()

        done = milepost(arena, "drain", "--all", "-A", APP, "--timeout", "1s")

        assert done.returncode == 6
        assert "1 of 1 workers have not left in 1s." in done.stderr
        trap.release()
        assert worker.wait_exit() == 0


def test_who_comes_after_a_drained_worker_stays(arena: Arena, app: Milepost) -> None:
    with arena.worker() as worker:
        worker.wait_ready()
        assert milepost(arena, "drain", worker.name, "-A", APP).returncode == 0
        assert worker.wait_exit() == 0
        worker.start().wait_ready()
        assert app.start("relay", Trail()).wait(15).state == DONE
        assert milepost(arena, "drain", "nobody@nowhere", "-A", APP).returncode == 3
        assert milepost(arena, "drain", "-A", APP).returncode == 2
