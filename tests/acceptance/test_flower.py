"""Flower, as ``milepost flower`` starts it, watching a real fleet."""

from __future__ import annotations

import importlib
import sys
import urllib.error
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from acceptance.arena import Arena
from acceptance.pipelines import STAGES, Trail
from milepost.tasks import Milepost, Run, RunStatus
from support.browser import Chromium, Visit
from support.flower_server import PASSWORD, USER, FlowerServer
from support.processes import Worker
from support.waiting import eventually

APP = "acceptance.flower_app"
NAMES = ("parcels.pick", "parcels.pack", "parcels.ship")
DONE = dict.fromkeys(NAMES, "SUCCESS")
INSPECTIONS = {"stats", "conf", "registered", "active_queues", "timestamp"}
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'


@dataclass
class Fleet:
    """A worker with two processes, its app, and the Flower that watches it."""

    arena: Arena
    app: Milepost
    worker: Worker
    flower: FlowerServer

    def start(self, run_id: str, **state: str) -> Run:
        return self.app.start("parcels", state, run_id=run_id)

    def is_watched(self) -> bool:
        """Whether the worker has noticed that somebody listens: Flower knows what it runs now."""
        run = self.start(f"first-{token_hex(4)}")
        run.wait(15)
        return bool(self.flower.search(f"kwargs:run_id={run.id}"))

    def held(self, run_id: str) -> tuple[Run, str]:
        """Start a run, wait until it is held up while it packs, and return it with its task's id."""
        run = self.start(run_id, held=run_id)

        def packing() -> str:
            found = self.flower.search(f"kwargs:run_id={run_id}")
            return next((t["uuid"] for t in found if t["state"] == "PROGRESS"), "")

        return run, eventually(packing, 15, self.worker.text)

    def release(self, run_id: str) -> None:
        (self.arena.folder / run_id).touch()

    def shows(self, run_id: str, states: dict[str, str], what: str = "") -> None:
        """Wait until Flower shows these states of a run's tasks."""

        def shown() -> bool:
            return self.flower.states(f"kwargs:run_id={run_id}") == states

        eventually(shown, 15, lambda: what or f"{states}: {self.flower.search(run_id)}")

    def command(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a command on a run by Flower's API, and return the task when it has ended."""
        task = self.flower.send(f"milepost.{name}", body)

        def ended() -> Any:
            with suppress(urllib.error.HTTPError):
                found = self.flower.call(f"task/info/{task}")
                return found if found["state"] in ("SUCCESS", "FAILURE") else None
            return None

        return dict(eventually(ended, 15, self.worker.text))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with (
        pytest.MonkeyPatch.context() as patch,
        Arena(folder, env={"TEST_FOLDER": str(folder)}) as arena,
    ):
        for name, value in arena.env.items():
            patch.setenv(name, value)
        sys.modules.pop(APP, None)
        app: Milepost = importlib.import_module(APP).app
        with (
            Worker(APP, folder, arena.env, concurrency=2, name="packer") as worker,
            FlowerServer(folder, arena.env, app=APP) as flower,
        ):
            worker.wait_ready()
            eventually(lambda: flower.call("workers?status=true"), 15, flower.log.read_text)
            there = Fleet(arena, app, worker, flower)
            eventually(there.is_watched, 30, flower.log.read_text)
            yield there
        app.close()
        app.celery.close()


@pytest.fixture
def visit(chromium: Chromium) -> Iterator[Visit]:
    """A signed-in window; nothing may go wrong in it."""
    signed_in = {"username": USER, "password": PASSWORD}
    with chromium.visit(http_credentials=signed_in, viewport={"width": 1600, "height": 900}) as it:
        yield it
        assert (it.errors, it.dialogs) == ([], [])


def test_a_run_id_finds_all_tasks_of_its_run(fleet: Fleet) -> None:
    """With dashes, dots and prefixes in common; exactly, if the field is named."""
    ids = ["order-7", "order-71", "a.b-c_d", "x1", "2013"]
    for run_id in ids:
        fleet.start(run_id).wait(15)
        fleet.shows(run_id, DONE)

    for run_id in ids:
        found = fleet.flower.search(f"kwargs:run_id={run_id}")
        assert [task["name"] for task in found] == [*NAMES]
        assert {task["root_id"] for task in found} == {run_id}
        assert all(run_id in task["kwargs"] for task in found)
    assert {task["root_id"] for task in fleet.flower.search("order-7")} == {"order-7", "order-71"}
    assert {task["root_id"] for task in fleet.flower.search("a.b-c_d")} == {"a.b-c_d"}
    [packed] = fleet.flower.search("order-71 parcels.pack")
    assert packed["name"] == "parcels.pack"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        fleet.flower.search("x1")


def test_the_stages_of_a_burst_are_tasks_too(fleet: Fleet, visit: Visit) -> None:
    """Each is found by the run's id, with its name, its end and the task that ran it as its parent."""
    good = fleet.app.start("express", {}, run_id="fast-1")
    bad = fleet.app.start("express", {"broken": "a wheel"}, run_id="fast-2")
    assert good.wait(15).status is RunStatus.COMPLETED
    done = {name.replace("parcels", "express"): "SUCCESS" for name in NAMES}
    fleet.shows("fast-1", done)
    fleet.shows("fast-2", {**done, "express.ship": "FAILURE"})
    assert bad.status is RunStatus.FAILED

    picked, packed, shipped = fleet.flower.search("kwargs:run_id=fast-2")
    assert {task["root_id"] for task in (picked, packed, shipped)} == {"fast-2"}
    assert [task["parent_id"] for task in (packed, shipped)] == [picked["uuid"]] * 2
    assert "a wheel" in shipped["exception"]
    assert "a wheel" in shipped["traceback"]
    assert packed["runtime"] is not None
    assert packed["worker"] == picked["worker"]

    visit.page.goto(f"{fleet.flower.url}/task/{shipped['uuid']}")
    assert "a wheel" in visit.page.inner_text("body")


def test_progress_is_seen_and_leaves_the_run_to_be_found(fleet: Fleet, visit: Visit) -> None:
    """As state and result; a search in the page shows the rows of the run."""
    run, task = fleet.held("slow-1")
    fleet.shows("slow-1", {"parcels.pick": "SUCCESS", "parcels.pack": "PROGRESS"})
    assert fleet.flower.call(f"task/info/{task}")["result"] == "3/10"
    visit.page.goto(f"{fleet.flower.url}/tasks")
    visit.page.get_by_role("searchbox").fill("slow-1")

    rows = visit.page.locator("#tasks-table tbody tr")
    row = rows.filter(has_text="parcels.pack")
    row.filter(has_text="3/10").wait_for()
    assert rows.count() == 2
    for shown in ("PROGRESS", "slow-1", "packer@test"):
        assert shown in row.inner_text()

    fleet.release("slow-1")
    run.wait(15)
    fleet.shows("slow-1", DONE)
    assert fleet.flower.call(f"task/info/{task}")["result"] == "'advanced to ship'"


def test_a_failed_run_is_retried_by_the_api_until_it_completes(fleet: Fleet) -> None:
    """A retry is a task like any other, and the run's id finds it, too."""
    run = fleet.start("bad-1", broken="the label is gone")
    eventually(lambda: run.status is RunStatus.FAILED, 15)
    fleet.shows("bad-1", {**DONE, "parcels.ship": "FAILURE"})

    assert fleet.command("retry", {"kwargs": {"run_id": "bad-1"}})["state"] == "SUCCESS"
    eventually(lambda: run.head.timeline == 1 and run.status is RunStatus.FAILED, 15)
    fleet.release("mended")
    assert fleet.command("retry", {"args": ["bad-1"]})["state"] == "SUCCESS"

    assert run.wait(15).status is RunStatus.COMPLETED
    fleet.shows("bad-1", {**DONE, "milepost.retry": "SUCCESS"})
    again = fleet.command("retry", {"args": ["bad-1"]})
    assert again["state"] == "FAILURE"
    assert "Run bad-1 is completed; only a run that is failed" in again["exception"]


def test_the_other_commands(fleet: Fleet) -> None:
    """Pause and resume a run in its stage; cancel it."""
    run, _task = fleet.held("slow-2")

    assert fleet.command("pause", {"args": ["slow-2"]})["result"] == "'running'"
    fleet.release("slow-2")
    eventually(lambda: run.status is RunStatus.PAUSED, 15)
    assert fleet.command("resume", {"args": ["slow-2"]})["result"] == "'queued'"
    run.wait(15)
    run, _task = fleet.held("slow-3")
    assert fleet.command("cancel", {"args": ["slow-3"]})["result"] == "'cancelled'"
    assert fleet.command("cancel", {"args": ["slow-3"]})["state"] == "SUCCESS"
    fleet.release("slow-3")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"args": ["nobody"]}, "UnknownRun('No run nobody in redis://"),
        ({"args": [HOSTILE]}, "is not a valid run id"),
        ({"kwargs": {"run_id": ["nobody"]}}, "is not a valid run id"),
        ({}, "milepost.retry takes a run_id and nothing else"),
        ({"args": ["a", "b"]}, "milepost.retry takes a run_id and nothing else"),
        ({"args": ["a"], "kwargs": {"force": 1}}, "milepost.retry takes a run_id and nothing else"),
    ],
)
def test_a_command_that_cannot_be_obeyed(fleet: Fleet, body: dict[str, Any], says: str) -> None:
    """The task fails with one line, and the worker's log has one line, without a traceback."""
    before = len(fleet.worker.text())
    failed = fleet.command("retry", body)

    assert failed["state"] == "FAILURE"
    assert says in failed["exception"]
    eventually(lambda: "raised expected" in fleet.worker.text()[before:], 15)
    assert "Traceback" not in fleet.worker.text()[before:]


def test_a_stage_that_is_terminated_pauses_its_run(fleet: Fleet, visit: Visit) -> None:
    """By the API; Flower's pages show it as revoked, and the run as it goes on."""
    run, task = fleet.held("slow-4")

    fleet.flower.call(f"task/revoke/{task}?terminate=true&signal=SIGKILL", {})

    eventually(lambda: run.status is RunStatus.PAUSED, 15, fleet.worker.text)
    assert run.head.crashes == 0
    eventually(lambda: fleet.flower.call(f"task/info/{task}")["revoked"], 15)
    visit.page.goto(f"{fleet.flower.url}/task/{task}")
    visit.page.locator(".badge", has_text="REVOKED").wait_for()
    fleet.release("slow-4")
    assert fleet.command("resume", {"args": ["slow-4"]})["state"] == "SUCCESS"
    run.wait(15)
    tries = fleet.flower.search("slow-4 parcels.pack")
    assert [bool(each["revoked"]) for each in tries] == [True, False]


def test_a_stage_that_is_revoked_while_it_waits(fleet: Fleet, visit: Visit) -> None:
    """By the button of its page, which Flower shows for what a worker has received."""
    holders = [fleet.held(f"holder-{n}") for n in (1, 2)]
    run = fleet.start("late-1")
    fleet.shows("late-1", {"parcels.pick": "RECEIVED"})
    [task] = fleet.flower.search("late-1")
    # Browsers offer a password below the folder that asked for it; by way of the list, that is all.
    visit.page.goto(f"{fleet.flower.url}/tasks")
    visit.page.goto(f"{fleet.flower.url}/task/{task['uuid']}")
    visit.page.get_by_role("button", name="Revoke").click()
    visit.page.get_by_text(f"Revoked '{task['uuid']}'").wait_for()
    for holder, _task in holders:
        fleet.release(holder.id)
        holder.wait(15)

    eventually(lambda: run.status is RunStatus.PAUSED, 15, fleet.worker.text)
    info = f"task/info/{task['uuid']}"
    eventually(lambda: fleet.flower.call(info)["state"] == "REVOKED", 15)
    # A copy that the reconciler may have sent meanwhile was turned down.
    assert arrived(fleet, "late-1") <= {"None", "'paused'"}


def arrived(fleet: Fleet, run_id: str) -> set[str]:
    """The results of a run's tasks."""
    return {str(task["result"]) for task in fleet.flower.search(run_id)}


@pytest.mark.fault("S11")
def test_hostile_text_is_shown_as_text(fleet: Fleet, visit: Visit) -> None:
    """In arguments, results and errors, in the list and on a task's page."""
    (fleet.arena.folder / "mended").unlink(missing_ok=True)
    run = fleet.start("evil-1", broken=HOSTILE)
    eventually(lambda: run.status is RunStatus.FAILED, 15)
    fleet.shows("evil-1", {**DONE, "parcels.ship": "FAILURE"})
    fleet.flower.send("parcels.pick", {"kwargs": {"run_id": HOSTILE, "sequence": 0}})
    eventually(lambda: fleet.flower.search("onerror state:SUCCESS"), 15, fleet.worker.text)
    command = fleet.command("retry", {"args": [HOSTILE]})
    tasks = [*fleet.flower.search("onerror"), *fleet.flower.search("evil-1"), command]

    visit.page.goto(f"{fleet.flower.url}/tasks")
    visit.page.get_by_role("searchbox").fill("onerror")
    visit.page.locator("#tasks-table tbody tr").filter(has_text="onerror=alert").first.wait_for()
    for task in tasks:
        visit.page.goto(f"{fleet.flower.url}/task/{task['uuid']}")
        assert visit.page.locator("img[src=x]").count() == 0
    failed = next(task for task in tasks if task["name"] == "parcels.ship")
    visit.page.goto(f"{fleet.flower.url}/task/{failed['uuid']}")
    assert "<script>alert(2)</script>" in visit.page.content().replace("&lt;", "<").replace(
        "&gt;", ">"
    )


def test_the_pages_of_flower(fleet: Fleet, visit: Visit) -> None:
    """Workers and queues are there; nobody gets in without the password, by page or by API."""
    visit.page.goto(f"{fleet.flower.url}/workers")
    visit.page.get_by_text("packer@test").first.wait_for()
    visit.page.goto(f"{fleet.flower.url}/broker")
    visit.page.get_by_role("cell", name="milepost").first.wait_for()
    fleet.start("counted-1").wait(15)
    fleet.shows("counted-1", DONE)
    assert 'task="parcels.pick"' in fleet.flower.page("/metrics")
    assert "counted-1" not in fleet.flower.page("/metrics")
    assert fleet.flower.status("/workers") == 401
    assert fleet.flower.status("/api/tasks") == 401


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


def inspected(flower: FlowerServer) -> set[str]:
    """What the only worker tells about itself when Flower asks."""
    return {name for worker in flower.call("workers?refresh=true").values() for name in worker}


def test_flower_that_comes_late_sees_the_stages_of_a_run(arena: Arena, tmp_path: Path) -> None:
    """Within a heartbeat, and without a module; while nobody watched, there were no task events."""
    with arena.app() as app, arena.worker() as worker:
        worker.wait_ready()
        eventually(lambda: not sends_events(arena, app), 15, "a run without task events")
        # Flower's own way to switch events on, every five seconds, is left out of it.
        with FlowerServer(tmp_path, arena.env, "--enable-events=False") as flower:
            eventually(lambda: flower.call("workers?status=true"), 5, flower.log.read_text)
            eventually(lambda: inspected(flower) == INSPECTIONS, 30, flower.log.read_text)

            def seen() -> bool:
                run = app.start("relay", Trail())
                run.wait(15)
                wanted = {f"relay.{stage}": "SUCCESS" for stage in STAGES}
                with suppress(AssertionError):
                    return eventually(lambda: flower.states(run.id) == wanted, 1)
                return False

            eventually(seen, 5, lambda: f"a whole run in Flower: {flower.call('tasks')}")
