"""The pictures of the dashboard in the documentation: ``python -m support.dashboard_pictures [FOLDER]``.

A real Redis, the flights of 2013 in their eight stages, and invoices of which some fail.
Looks best where the fonts Inter and JetBrains Mono are installed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import redis
from playwright.sync_api import Page

from milepost.checkpointing.redis_connection import prefix_of
from milepost.control.api.keys import Scope
from milepost.tasks import Milepost, RunQuery, RunStatus
from milepost.tasks.runs.base import Bid, Claim

from .browser import Chromium
from .dashboard_scene import StubFleet, StubQueue, StubWorker, add_pipelines, work
from .dashboard_site import DashboardSite
from .redis_server import RedisServer

DOCS = Path(__file__).resolve().parents[2] / "docs" / "images"
_WORKERS = ("flights@ams-1", "flights@ams-2", "billing@ams-1", "billing@fra-1")


def main() -> None:
    """Make all pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS
    folder.mkdir(parents=True, exist_ok=True)
    with scene() as site, Chromium() as chromium:
        key = site.key(Scope.ADMIN, name="ann")
        for name, path, scheme, width in shots(site.app):
            size = {"width": width, "height": 800 if width > 600 else 844}
            with chromium.visit(viewport=size, color_scheme=scheme) as visit:
                page = visit.page
                page.goto(f"{site.url}/sign-in?key={key}")
                page.wait_for_url("**/runs")
                page.goto(site.url + path)
                picture(page, folder / f"dashboard-{name}.png")


def picture(page: Page, file: Path) -> None:
    """Take one picture, of what the window shows."""
    page.screenshot(path=file)
    assert file.stat().st_size < 200_000, f"{file} is too large"


def shots(app: Milepost) -> list[tuple[str, str, Literal["light", "dark"], int]]:
    """Return (name, path, theme, width) of each picture."""
    group = max(app.runs.groups(), key=lambda found: found.count).group
    history = app.checkpoints.list_checkpoints("flights-2013")
    checkpoint = next(m.checkpoint_id for m in history if m.stage == "clean").strip()
    return [
        ("runs", "/runs", "light", 1280),
        ("runs-dark", "/runs", "dark", 1280),
        ("runs-narrow", "/runs", "light", 390),
        ("run", "/runs/flights-2013", "light", 1280),
        ("checkpoint", f"/runs/flights-2013/checkpoints/{checkpoint}", "light", 1280),
        ("edit", "/runs/inv-8042/do/edit", "light", 1280),
        ("failures", "/failures", "light", 1280),
        ("failure", f"/failures/{group}", "light", 1280),
        ("bulk", f"/bulk?command=retry&status=failed&group={group}", "light", 1280),
        ("fleet", "/fleet", "light", 1280),
        ("storage", "/storage", "light", 1280),
    ]


@contextmanager
def scene() -> Iterator[DashboardSite]:
    """Serve the dashboard of a fleet at work."""
    with RedisServer() as server, tempfile.TemporaryDirectory() as out:
        os.environ |= {"MILEPOST_URL": server.url, "FLIGHTS_OUT": out}
        from examples.flights import app

        add_pipelines(app)
        _flights(app)
        _invoices(app)
        _somewhere(app)
        holding = _running(app)
        workers = [
            StubWorker(name, name.partition("@")[2], 4100 + at, holding=holding[at::4])
            for at, name in enumerate(_WORKERS)
        ]
        workers[3].state = "draining"
        queues = [StubQueue("milepost", 9, 3.4), StubQueue("heavy", 0, 0.0, True, "ann", 1)]
        try:
            with DashboardSite(app, StubFleet(workers, queues)) as site:
                yield site
        finally:
            app.close()


def _flights(app: Milepost) -> None:
    app.start("flights", {"name": "2013"}, run_id="flights-2013", tags=["yearly"])
    work(app, "flights-2013", 6)
    app.lifecycle.on_behalf_of("ann").rewind("flights-2013", "clean")
    work(app, "flights-2013")
    app.start("flights", {"name": "again"}, run_id="flights-2013-check", tags=["yearly"])
    work(app, "flights-2013-check", 3)


def _invoices(app: Milepost) -> None:
    for n in range(8000, 8046):
        customer = "acme"
        if n % 9 == 2:
            customer = f"blocked-{n}"
        elif n in (8012, 8042):
            customer = "odd"
        tags = ["nightly", "eu"] if n % 3 else ["nightly"]
        tenant = "harbour" if n % 10 == 5 else None
        run_id = f"inv-{n}"
        app.start("invoices", {"customer": customer}, run_id=run_id, tags=tags, tenant=tenant)
        work(app, run_id, 20 if n < 8036 or customer != "acme" else n % 3)
        time.sleep(0.02)
    app.lifecycle.on_behalf_of("bob").pause("inv-8044")
    app.start("invoices", {"customer": "acme"}, run_id="inv-8046", delay="2h", tags=["nightly"])


def _somewhere(app: Milepost) -> None:
    """Let tracebacks name a server's paths, not those of who made the pictures."""
    with redis.Redis.from_url(app.runs.location) as client:
        for head in app.runs.find(RunQuery.of(RunStatus.FAILED), limit=100).items:
            text = head.error.replace(str(DOCS.parents[1]), "/srv/milepost")
            client.hset(f"{prefix_of(head.run_id)}run:{head.run_id}", "error", text)


def _running(app: Milepost) -> tuple[str, ...]:
    """Let workers hold some runs, as if they were at them."""
    waiting = ["flights-2013-check", "inv-8037", "inv-8040", "inv-8041", "inv-8043"]
    held = []
    for number, run_id in enumerate(waiting):
        head = app.runs.get(run_id)
        assert head is not None
        name = _WORKERS[number % 4]
        claim = app.runs.claim(head.step, Bid(f"owner-{number}", f"nonce-{number}", 1, name))
        if isinstance(claim, Claim):
            held.append(run_id)
            if number == 0:
                app.runs.save(claim, path="", progress="[184210, 336776]", record=None)
    return tuple(held)


if __name__ == "__main__":
    main()
