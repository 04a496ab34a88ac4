"""The pictures of the guide to Flower: ``python -m pictures.flower``."""

from __future__ import annotations

import importlib
import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from milepost.tasks import Milepost, RunStatus
from support.browser import Chromium, Visit
from support.flower_server import PASSWORD, USER, FlowerServer
from support.processes import Worker
from support.redis_server import RedisServer
from support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
APP = "pictures.fleet"
LARGEST = 150_000
SIGNED_IN = {"username": USER, "password": PASSWORD}


def main() -> None:
    """Start two workers and Flower, let runs succeed, fail and go on, and take a picture of each."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="milepost-pictures-")))
        server = stack.enter_context(RedisServer())
        env = {
            "MILEPOST_URL": server.url,
            "FLIGHTS_OUT": str(folder / "out"),
            "PICTURES_FOLDER": str(folder),
            "PYTHONPATH": os.pathsep.join(
                [str(ROOT / "tests"), str(ROOT), os.environ.get("PYTHONPATH", "")]
            ),
        }
        os.environ.update(env)
        flower = stack.enter_context(FlowerServer(folder, env, app=APP))
        for name in ("north", "south"):
            worker = stack.enter_context(Worker(APP, folder, env, concurrency=2, name=name))
            worker.wait_ready()
        app: Milepost = importlib.import_module(APP).app
        stack.callback(app.close)
        chromium = stack.enter_context(Chromium())
        visit = stack.enter_context(
            chromium.visit(http_credentials=SIGNED_IN, viewport={"width": 1640, "height": 640})
        )
        take(app, flower, visit, folder)
        assert visit.errors == visit.dialogs == []


def take(app: Milepost, flower: FlowerServer, visit: Visit, folder: Path) -> None:
    """Lead the fleet from one picture to the next."""
    page, url = visit.page, flower.url
    eventually(lambda: len(flower.call("workers?status=true")) == 2, 15, flower.log.read_text)
    app.start("flights", {"name": "2013"}, run_id="flights-2013").wait(120)
    bad = app.start("invoices", {"month": "10", "broken": True}, run_id="invoices-2026-10")
    app.start("invoices", {"month": "9"}, run_id="invoices-2026-09").wait(30)
    held = app.start("invoices", {"month": "11"}, run_id="invoices-2026-11")
    eventually(lambda: bad.status is RunStatus.FAILED, 30)
    eventually(lambda: seen(flower, "state:PROGRESS") and seen(flower, "state:FAILURE"), 15)

    page.goto(f"{url}/workers")
    page.get_by_text("north@test").first.wait_for()
    shoot(visit, "flower-workers", 560)
    search(visit, flower, "flights-2013", 8)
    shoot(visit, "flower-search", 720)
    search(visit, flower, "invoices-2026", 8)
    shoot(visit, "flower-progress", 720)
    page.goto(f"{url}/task/{seen(flower, 'state:FAILURE')['uuid']}")
    shoot(visit, "flower-failed", 1000)

    (folder / "mended").touch()
    flower.send("milepost.retry", {"kwargs": {"run_id": bad.id}})
    eventually(lambda: bad.status is RunStatus.COMPLETED, 30)
    eventually(lambda: seen(flower, f"{bad.id} milepost.retry state:SUCCESS"), 15)
    search(visit, flower, bad.id, 5)
    shoot(visit, "flower-retry", 600)
    task = seen(flower, "state:PROGRESS")["uuid"]
    flower.call(f"task/revoke/{task}?terminate=true", {})
    eventually(lambda: held.status is RunStatus.PAUSED, 15)
    eventually(lambda: flower.call(f"task/info/{task}")["revoked"], 15)
    search(visit, flower, held.id, 2)
    shoot(visit, "flower-revoked", 470)


def seen(flower: FlowerServer, query: str) -> dict[str, Any]:
    """The first task that a search finds, or nothing."""
    return next(iter(flower.search(query)), {})


def search(visit: Visit, flower: FlowerServer, text: str, rows: int) -> None:
    """Type into the search of the list, and wait for so many rows."""
    visit.page.goto(f"{flower.url}/tasks")
    visit.page.get_by_role("searchbox").fill(text)
    found = visit.page.locator("#tasks-table tbody tr", has_text=text)
    total = visit.page.locator("#tasks-table tbody tr")
    eventually(lambda: found.count() == total.count() == rows)


def shoot(visit: Visit, name: str, height: int) -> None:
    """Write a picture, which has to be small."""
    path = IMAGES / f"{name}.png"
    visit.page.set_viewport_size({"width": 1640, "height": height})
    visit.picture(path)
    assert path.stat().st_size < LARGEST, f"{path} has {path.stat().st_size} bytes"
    print(path)


if __name__ == "__main__":
    main()
