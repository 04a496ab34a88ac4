"""Tasks of stages that are revoked through Celery, in real workers: their runs are paused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acceptance.arena import Arena, Trap
from acceptance.pipelines import STAGES, Trail
from milepost.tasks import Milepost, Run, RunStatus
from support.processes import Worker
from support.redis_server import RedisServer
from support.waiting import eventually


@pytest.fixture
def app(arena: Arena) -> Iterator[Milepost]:
    with arena.app() as app:
        yield app


def waiting_id(app: Milepost, worker: Worker, run: Run) -> str:
    """The id of the run's task, which the worker has taken but cannot begin yet."""

    def found() -> str:
        reserved: Any = app.celery.control.inspect([worker.name], timeout=5).reserved()
        tasks = (reserved or {}).get(worker.name, [])
        return next((task["id"] for task in tasks if task["kwargs"]["run_id"] == run.id), "")

    return eventually(found, 15, worker.text)


def id_in(app: Milepost, worker: Worker) -> str:
    """The id of the only task that the worker runs."""
    active: Any = app.celery.control.inspect([worker.name], timeout=5).active()
    [task] = active[worker.name]
    return str(task["id"])


def is_paused(run: Run) -> bool:
    return run.status is RunStatus.PAUSED


def finishes(run: Run) -> None:
    """Resume the run; nothing was counted against its stage."""
    head = run.head
    assert (head.crashes, head.suspicions, head.failures) == (0, 0, 0)
    run.resume()
    assert run.wait(15).state == Trail(done=[*STAGES])


class Scene:
    """A worker that is held up in the second stage of a run of its own."""

    def __init__(self, app: Milepost, trap: Trap, worker: Worker) -> None:
        self.trap = trap
        self.worker = worker.wait_ready()
        self.run = app.start("relay", Trail())
        self.pid = trap.wait_reached()


@pytest.fixture
def scene(request: pytest.FixtureRequest, arena: Arena, app: Milepost) -> Iterator[Scene]:
    trap = arena.trap("inside")
    with arena.worker(getattr(request, "param", "prefork"), env=trap.env) as worker:
        yield Scene(app, trap, worker)


@pytest.mark.fault("F61")
def test_a_waiting_stage(arena: Arena, app: Milepost, scene: Scene) -> None:
    """It is discarded when its message is taken; the run is paused and not published again."""
    run = app.start("relay", Trail())
    app.celery.control.revoke(waiting_id(app, scene.worker, run))
    assert run.status is RunStatus.QUEUED
    scene.trap.release()

    eventually(lambda: is_paused(run), 15, scene.worker.text)

    assert scene.run.wait(15).status is RunStatus.COMPLETED
    assert arena.ledger.entries(run.id) == []
    finishes(run)


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL", "SIGQUIT"])
def test_a_running_stage_that_is_terminated(
    arena: Arena, app: Milepost, scene: Scene, signal: str
) -> None:
    """The run is paused before the process is struck, and the death counts as no crash."""
    task = id_in(app, scene.worker)

    app.celery.control.revoke(task, terminate=True, signal=signal)

    eventually(lambda: scene.pid not in scene.worker.children, 15, scene.worker.text)
    eventually(lambda: is_paused(scene.run), 15, scene.worker.text)
    assert len(arena.ledger.entries(scene.run.id)) == 2
    finishes(scene.run)


def test_a_task_in_a_burst_that_is_terminated(arena: Arena, app: Milepost) -> None:
    """Whichever stage it has gone on to, the run is paused there; nothing is counted."""
    trap = arena.trap("inside", stage="third")
    with arena.worker("prefork", env={**trap.env, "TEST_BURST": "1m"}) as worker:
        scene = Scene(app, trap, worker)

        app.celery.control.revoke(id_in(app, worker), terminate=True, signal="SIGKILL")

        eventually(lambda: scene.pid not in worker.children, 15, worker.text)
        eventually(lambda: is_paused(scene.run), 15, worker.text)
        assert scene.run.head.stage == "third"
        finishes(scene.run)


@pytest.mark.parametrize("scene", ["threads"], indirect=True)
def test_a_stage_in_a_thread(app: Milepost, scene: Scene) -> None:
    """Threads cannot be terminated: the stage ends, and its run is paused before the next."""
    app.celery.control.revoke(id_in(app, scene.worker), terminate=True, signal="SIGKILL")
    eventually(lambda: scene.run.head.pause, 15, scene.worker.text)
    scene.trap.release()

    eventually(lambda: is_paused(scene.run), 15, scene.worker.text)

    assert scene.run.head.stages_done == 2
    finishes(scene.run)


def test_the_stamp_of_a_run(arena: Arena, app: Milepost, scene: Scene) -> None:
    """It reaches the run whichever message is under way, and is forgotten when it has done so."""
    waiting = app.start("relay", Trail())
    app.celery.control.revoke_by_stamped_headers({"run_id": [scene.run.id, waiting.id]})

    eventually(lambda: scene.run.head.pause and is_paused(waiting), 15, scene.worker.text)
    scene.trap.release()

    eventually(lambda: is_paused(scene.run), 15, scene.worker.text)
    assert arena.ledger.entries(waiting.id) == []
    finishes(scene.run)
    finishes(waiting)


def test_the_stamp_of_a_run_with_force(app: Milepost, scene: Scene) -> None:
    """The running stage is struck, uncounted."""
    stamps = {"run_id": [scene.run.id, "nobody"], "other": [{}]}
    app.celery.control.revoke_by_stamped_headers(stamps, terminate=True, signal="SIGKILL")

    eventually(lambda: is_paused(scene.run), 15, scene.worker.text)

    eventually(lambda: scene.pid not in scene.worker.children, 15, scene.worker.text)
    finishes(scene.run)


def test_what_is_not_the_current_publication(arena: Arena, app: Milepost, scene: Scene) -> None:
    """A message that has expired, a stale one, and a copy of what runs: none pauses its run."""
    run = app.start("relay", Trail())
    send = app.celery.send_task
    send("relay.first", kwargs={"run_id": run.id, "sequence": 0}, queue="milepost", expires=0.01)
    copies = [
        send(f"relay.{stage}", kwargs={"run_id": scene.run.id, "sequence": n}, queue="milepost")
        for n, stage in enumerate(STAGES[:2])
    ]
    app.celery.control.revoke([copy.id for copy in copies])
    scene.trap.release()

    assert run.wait(15).state == Trail(done=[*STAGES])
    assert scene.run.wait(15).state == Trail(done=[*STAGES])
    eventually(lambda: scene.worker.text().count("Discarding revoked task") == 3, 15)


def test_a_run_store_that_is_away(tmp_path: Path) -> None:
    """The stage is struck all the same, and the run paused when the store is back, without a crash."""
    with (
        RedisServer() as store,
        Arena(tmp_path, env={"MILEPOST_RUNS": store.url}) as arena,
        arena.app() as app,
    ):
        trap = arena.trap("inside")
        with arena.worker(env=trap.env) as worker:
            scene = Scene(app, trap, worker)
            task = id_in(app, worker)
            store.stop()

            app.celery.control.revoke(task, terminate=True, signal="SIGKILL")

            worker.wait_for_log("cannot be paused yet")
            eventually(lambda: scene.pid not in worker.children, 15, worker.text)
            store.start()
            eventually(lambda: is_paused(scene.run), 20, worker.text)
            assert scene.run.head.crashes == 0
            scene.run.resume()
            assert scene.run.wait(15).state == Trail(done=[*STAGES])
