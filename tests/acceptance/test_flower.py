"""Flower, as it is installed, watching a fleet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from acceptance.arena import APP, Arena
from acceptance.pipelines import STAGES, Trail
from milepost.tasks import Milepost
from support.ports import free_port
from support.processes import TESTS
from support.waiting import eventually

INSPECTIONS = {"stats", "conf", "registered", "active_queues", "timestamp"}


@pytest.fixture
def app(arena: Arena) -> Iterator[Milepost]:
    with arena.app() as app:
        yield app


class Flower:
    """``celery flower`` on a port of its own."""

    def __init__(self, arena: Arena) -> None:
        self._port = free_port()
        self.log = arena.folder / "flower.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", APP, "flower"),
                    *("--address=127.0.0.1", f"--port={self._port}", "--enable-events=False"),
                ],
                cwd=arena.folder,
                env={
                    **os.environ,
                    **arena.env,
                    "PYTHONPATH": str(TESTS),
                    "FLOWER_UNAUTHENTICATED_API": "true",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def get(self, path: str) -> Any:
        """Return what its API answers, or nothing while it does not."""
        with (
            suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/{path}") as reply,
        ):
            return json.load(reply)
        assert self._process.poll() is None, self.log.read_text()
        return {}

    def stages_of(self, run_id: str) -> dict[str, str]:
        """Return the states of the tasks whose root is the run, by task name."""
        return {
            task["name"]: task["state"]
            for task in self.get("tasks").values()
            if task["root_id"] == run_id
        }

    def end(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(10)


def sends_events(arena: Arena, app: Milepost) -> bool:
    """Whether a run of now makes the worker send task events."""
    with arena.broker.monitor() as monitor:
        app.start("relay", Trail()).wait(15)
        heartbeats, events = 0, False
        # Between two heartbeats the worker has sent whatever it had gathered.
        while heartbeats < 2:
            command = monitor.next_command()["command"]
            if command.startswith("PUBLISH"):
                heartbeats += "worker.heartbeat" in command
                events = events or "task.multi" in command
        return events


def inspected(flower: Flower) -> set[str]:
    """What the only worker tells about itself when Flower asks."""
    return {name for worker in flower.get("workers?refresh=true").values() for name in worker}


def test_flower_that_comes_late_sees_the_stages_of_a_run(arena: Arena, app: Milepost) -> None:
    """By the run's id; while nobody watched, the worker sent no task events."""
    with arena.worker() as worker:
        worker.wait_ready()
        eventually(lambda: not sends_events(arena, app), 15, "a run without task events")
        flower = Flower(arena)
        try:
            eventually(lambda: flower.get("workers?status=true"), 30, flower.log.read_text)
            eventually(lambda: inspected(flower) == INSPECTIONS, 30, flower.log.read_text)

            def seen() -> bool:
                run = app.start("relay", Trail())
                run.wait(15)
                wanted = {f"relay.{stage}": "SUCCESS" for stage in STAGES}
                with suppress(AssertionError):
                    return eventually(lambda: flower.stages_of(run.id) == wanted, 3)
                return False

            eventually(seen, 30, lambda: f"a whole run in Flower: {flower.get('tasks')}")
        finally:
            flower.end()
