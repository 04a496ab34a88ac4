"""The broker forgets: what is not finished is published again, from the run store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from acceptance.arena import Arena
from acceptance.pipelines import STAGES, Trail
from milepost.tasks import Milepost
from support.checker import Checker
from support.redis_server import RedisServer

DONE = Trail(done=[*STAGES])


@pytest.fixture
def store() -> Iterator[RedisServer]:
    """Where runs are kept: another server than the broker."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def arena(tmp_path: Path, store: RedisServer) -> Iterator[Arena]:
    with Arena(tmp_path, env={"MILEPOST_RUNS": store.url}) as arena:
        yield arena


def lose(arena: Arena, app: Milepost, way: str) -> None:
    if way == "purge":
        assert app.celery.control.purge() == 5
    elif way == "FLUSHALL":
        arena.broker.flushall()
    else:
        arena.server.kill()
        shutil.rmtree(arena.server.folder)
        arena.server.folder.mkdir()
        arena.server.start()


@pytest.mark.parametrize(
    "way",
    [
        pytest.param("purge", marks=pytest.mark.fault("F55")),
        pytest.param("FLUSHALL", marks=pytest.mark.fault("F55")),
        pytest.param("started again without its data", marks=pytest.mark.fault("F24", "F55")),
    ],
)
def test_every_run_goes_on(arena: Arena, store: RedisServer, way: str) -> None:
    """Those that wait, and the one whose stage runs."""
    trap = arena.trap("inside")
    with (
        arena.app() as app,
        arena.worker(env=trap.env) as worker,
        redis.Redis.from_url(store.url) as runs,
    ):
        worker.wait_ready()
        running = app.start("relay", Trail())
        trap.wait_reached()
        waiting = [app.start("relay", Trail()) for _ in range(6)]

        lose(arena, app, way)

        trap.release()
        checker = Checker(app, arena.ledger, runs, arena.broker)
        for run in (running, *waiting):
            checker.judge(run, state=DONE, stages=STAGES, executions={}, deadline_s=40)
