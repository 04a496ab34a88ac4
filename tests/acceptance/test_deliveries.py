"""Messages that come twice, late, early or forged: a stage may be asked for again, never done again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acceptance.arena import Arena
from acceptance.pipelines import STAGES, Trail
from milepost.tasks import Milepost, Run
from support.processes import Worker
from support.waiting import eventually

DONE = Trail(done=[*STAGES])
COPIES = 8


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    with Arena(tmp_path, env={"TEST_VISIBILITY": "1"}) as arena:
        yield arena


@pytest.fixture
def app(arena: Arena) -> Iterator[Milepost]:
    with arena.app() as app:
        yield app


def completes_once(arena: Arena, app: Milepost, run: Run) -> None:
    arena.checker(app).judge(run, state=DONE, stages=STAGES, executions={})
    assert {effect.attempt for effect in arena.ledger.entries(run.id)} == {1}


def said(worker: Worker, answer: str, count: int) -> None:
    """Wait until that many tasks of stages came to *answer*."""
    eventually(lambda: worker.text().count(f": '{answer}'") == count, 15, worker.text)


def forge(app: Milepost, run: Run, stage: str, sequence: int, **more: Any) -> None:
    kwargs = {"run_id": run.id, "sequence": sequence, **more}
    app.celery.send_task(f"relay.{stage}", kwargs=kwargs, queue="milepost", ignore_result=True)


@pytest.mark.fault("F44")
def test_one_that_comes_again(arena: Arena, app: Milepost) -> None:
    """While a later stage runs, and when the run has ended: it is taken, and nothing is done."""
    trap = arena.trap("inside", stage="third")
    run = app.start("relay", Trail())
    first: Any = arena.broker.lindex("milepost", 0)
    with arena.worker(concurrency=2, env=trap.env) as worker:
        trap.wait_reached()
        arena.broker.lpush("milepost", first)
        said(worker, "stale", 1)
        trap.release()
        run.wait(15)
        arena.broker.lpush("milepost", first)
        said(worker, "finished", 1)
        completes_once(arena, app, run)


@pytest.mark.fault("F45")
def test_many_at_once(arena: Arena, app: Milepost) -> None:
    """One process runs the stage; the others are free for other runs at once."""
    trap = arena.trap("inside", stage="first")
    run = app.start("relay", Trail())
    copy: Any = arena.broker.lindex("milepost", 0)
    for _ in range(COPIES - 1):
        arena.broker.lpush("milepost", copy)
    with arena.worker(concurrency=4, env=trap.env) as worker:
        trap.wait_reached()
        said(worker, "duplicate", COPIES - 1)
        other = app.start("relay", Trail())
        assert other.wait(15).state == DONE
        trap.release()
        completes_once(arena, app, run)


@pytest.mark.fault("F46", "S14")
def test_what_is_not_due(arena: Arena, app: Milepost) -> None:
    """Old, of the future, of another stage or timeline, or of a run that nobody knows."""
    trap = arena.trap("inside")
    run = app.start("relay", Trail())
    with arena.worker(concurrency=2, env=trap.env) as worker:
        trap.wait_reached()
        forge(app, run, "first", 0)
        forge(app, run, "third", 1)
        said(worker, "stale", 2)
        forge(app, run, "fourth", 3)
        forge(app, run, "second", 1, timeline=7)
        said(worker, "ahead", 2)
        assert "a message names checkpoint 3 of timeline 0" in worker.text()
        forge(app, app.run("nobody"), "first", 0)
        said(worker, "unknown", 1)
        trap.release()
        completes_once(arena, app, run)


def taken_ahead(app: Milepost, worker: Worker) -> set[str]:
    """The runs whose messages a worker holds and has not begun."""
    reserved: Any = app.celery.control.inspect([worker.name], timeout=5).reserved()
    return {task["kwargs"]["run_id"] for task in (reserved or {}).get(worker.name, [])}


@pytest.mark.fault("F61")
def test_what_waits_in_a_worker(arena: Arena, app: Milepost) -> None:
    """A message that was taken ahead claims nothing: however long it waits, no attempt is counted."""
    trap = arena.trap("inside")
    with arena.worker(env={**trap.env, "TEST_PREFETCH": "4"}) as worker:
        busy = app.start("relay", Trail())
        trap.wait_reached()
        waiting = [app.start("relay", Trail()) for _ in range(3)]
        ids = {run.id for run in waiting}
        eventually(lambda: taken_ahead(app, worker) == ids, 15, worker.text)
        worker.wait_for_log("of stage first is lost; it is published again")
        assert [run.head.attempt for run in waiting] == [0, 0, 0]
        trap.release()
        for run in (busy, *waiting):
            completes_once(arena, app, run)
            head = run.head
            assert (head.crashes, head.suspicions, head.failures) == (0, 0, 0)


@pytest.mark.fault("F62")
def test_a_stage_longer_than_the_visibility_timeout(arena: Arena, app: Milepost) -> None:
    """Nothing of it waits for an acknowledgement, so nothing is delivered again in its midst."""
    trap = arena.trap("inside")
    with arena.worker(env=trap.env) as worker:
        run = app.start("relay", Trail())
        trap.wait_reached()
        began = time.time()
        eventually(lambda: time.time() > began + 2, what="the visibility timeout, twice")
        with app.celery.connection_for_read() as connection:
            # As each worker does it, every hundred seconds.
            connection.default_channel.qos.restore_visible(interval=1)
        assert not arena.broker.exists("unacked", "milepost")
        trap.release()
        completes_once(arena, app, run)
        assert worker.text().count("Task relay.second[") == 2, "received and succeeded"
