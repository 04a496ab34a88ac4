"""Milepost as a guest in a Celery app that runs other people's tasks, too."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acceptance.arena import Arena
from acceptance.pipelines import Trail
from support.flower_server import FlowerServer
from support.processes import Worker
from support.waiting import eventually

APP = "acceptance.foreign_app"
VISIBILITY_S = 2


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    with Arena(tmp_path, env={"TEST_FOLDER": str(tmp_path)}) as arena:
        yield arena


@pytest.fixture
def shop(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, as the client's side imports it."""
    for name, value in arena.env.items():
        monkeypatch.setenv(name, value)
    sys.modules.pop(APP, None)
    module = importlib.import_module(APP)
    yield module
    module.durable.close()
    module.app.close()


def worker(arena: Arena, name: str) -> Worker:
    return Worker(APP, arena.folder, arena.env, concurrency=2, name=name)


@pytest.mark.fault("F62")
def test_a_killed_worker_loses_neither_tasks_nor_runs(arena: Arena, shop: Any) -> None:
    """Tasks come back by Celery's own emulation of acknowledgements; it is not switched off for them."""
    with worker(arena, "victim") as victim:
        victim.wait_ready()
        run = shop.durable.start("relay", Trail())
        shop.bill.delay("order-1")
        eventually(
            lambda: len(arena.ledger.entries(run.id)) == 2 and arena.ledger.entries("order-1"),
            15,
            "the task and the second stage begun",
        )
        assert arena.broker.hlen("unacked") == 1, "only the task's message waits for its end"
        assert run.head.queue == "shop"
        victim.kill_group()
        # A worker looks for messages to restore when it starts, and then every 100 seconds.
        taken: Any = arena.broker.zrange("unacked_index", 0, 0, withscores=True)
        [(_, taken_at)] = taken
        eventually(lambda: time.time() > taken_at + VISIBILITY_S, what="the visibility timeout")
    with worker(arena, "heir") as heir:
        heir.wait_ready()
        assert run.wait(15).state == Trail(done=["first", "second"])
        stages = [(effect.stage, effect.attempt) for effect in arena.ledger.entries(run.id)]
        assert stages == [("first", 1), ("second", 1), ("second", 2)]
        eventually(lambda: len(arena.ledger.entries("order-1")) == 2, 15, "the task again")
        eventually(lambda: not arena.broker.exists("unacked"), 15, "the task's end")


def test_flower_and_commands_on_runs(arena: Arena, shop: Any) -> None:
    """Flower switches task events on; a command goes where the app's own tasks go, and is obeyed there."""
    with (
        worker(arena, "clerk") as clerk,
        FlowerServer(arena.folder, arena.env, app=APP) as flower,
    ):
        clerk.wait_ready()
        eventually(lambda: "enabled by remote" in clerk.text(), 15, clerk.text)
        run = shop.durable.start("relay", Trail(), run_id="order-2")
        started = {"relay.first": "SUCCESS", "relay.second": "STARTED"}
        eventually(lambda: flower.states(run.id) == started, 15, flower.log.read_text)

        flower.send("milepost.cancel", {"args": [run.id]})

        eventually(lambda: run.status == "cancelled", 15, clerk.text)
        done = {**started, "milepost.cancel": "SUCCESS"}
        (arena.folder / "continue").touch()
        eventually(lambda: flower.search(f"{run.id} milepost.cancel state:SUCCESS"), 15)
        eventually(lambda: {**flower.states(run.id), "relay.second": "STARTED"} == done, 15)
