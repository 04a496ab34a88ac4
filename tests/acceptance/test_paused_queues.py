"""A paused queue stays so, whatever broker it is on and whatever happens to servers and workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from acceptance.arena import Arena
from acceptance.pipelines import STAGES, Trail
from milepost.checkpointing import CheckpointError
from milepost.tasks import Milepost
from milepost.worker.fleet import Fleet
from support.processes import Pool
from support.waiting import eventually

DONE = Trail(done=[*STAGES])


@pytest.fixture
def queue() -> str:
    return f"test-{uuid4().hex}"


@pytest.fixture(params=["Redis", "RabbitMQ"])
def arena(request: pytest.FixtureRequest, tmp_path: Path, queue: str) -> Iterator[Arena]:
    env = {"TEST_QUEUE": queue}
    with Arena(tmp_path, env=env) as arena:
        if request.param == "RabbitMQ":
            arena.env["MILEPOST_RUNS"] = arena.server.url
            arena.env["MILEPOST_URL"] = request.getfixturevalue("rabbitmq_url")
        yield arena


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_it_is_left_alone_and_taken_again(arena: Arena, queue: str, pool: Pool) -> None:
    with arena.app(queue) as app, arena.worker(pool, 2) as worker:
        worker.wait_ready()
        assert app.start("relay", Trail()).wait(15).state == DONE
        fleet = Fleet(app)
        fleet.pause_queue(queue, "ann")
        worker.wait_for_log(f"Queue {queue} is paused.")
        runs = [app.start("relay", Trail()) for _ in range(20)]
        eventually(lambda: runs[-1].head.patience_ms >= 4_000, 20, "looks at what waits")

        assert {run.head.stages_done for run in runs} == {0}
        assert app.runtime.dispatch.waiting(queue) == 20
        [seen] = fleet.queues()
        assert (seen.name, seen.paused, seen.paused_by, seen.workers) == (queue, True, "ann", 1)
        assert seen.age_seconds is not None
        assert seen.age_seconds > 1

        fleet.resume_queue(queue, "ann")
        for run in runs:
            assert run.wait(20).state == DONE
            ran = [effect.stage for effect in arena.ledger.entries(run.id)]
            assert ran == [*STAGES]


@pytest.mark.fault("F23")
@pytest.mark.parametrize("arena", ["Redis"], indirect=True)
def test_a_server_that_is_killed_and_workers_that_come_new_change_nothing(
    arena: Arena, queue: str
) -> None:
    with arena.app(queue) as app, arena.worker() as worker:
        worker.wait_ready()
        Fleet(app).pause_queue(queue, "ann")
        worker.wait_for_log(f"Queue {queue} is paused.")
        # The server writes its log to disk once a second.
        eventually(lambda: arena.runs.info("persistence")["aof_pending_bio_fsync"] == 0, 5)
        run = app.start("relay", Trail())
        eventually(lambda: run.head.patience_ms >= 4_000, 20, "looks at what waits")
        arena.server.kill()
        arena.server.start()
        with arena.worker("threads") as another:
            another.wait_ready()
            names = {worker.name, another.name}
            eventually(lambda: reported(app) == names, 30, "both workers heard of again")
            eventually(lambda: run.head.patience_ms >= 8_000, 30, "a look after the restart")
            assert run.head.stages_done == 0

            Fleet(app).resume_queue(queue, "ann")

            assert run.wait(30).state == DONE


def reported(app: Milepost) -> set[str]:
    try:
        return {worker.name for worker in Fleet(app).workers() if worker.state == "up"}
    except CheckpointError:
        return set()
