"""The walk of the guide: a thousand runs, a bug, its repair. ``make pictures`` takes its pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from acceptance.walk_site import Shop
from milepost.control.client import Client
from milepost.tasks import RunStatus
from support.browser import Chromium, Visit
from support.waiting import eventually

PICTURES = os.environ.get("WALK_PICTURES")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with Shop(tmp_path) as shop:
        yield shop


def picture(visit: Visit, name: str) -> None:
    if PICTURES:
        # What is no part of the walk: where the test has put the shop.
        visit.page.evaluate(
            """for (const pre of document.querySelectorAll("pre"))
              pre.textContent = pre.textContent.replace(/"[^"]*[/]([^"/]+)"/g, '"$1"')"""
        )
        visit.picture(Path(PICTURES) / f"walk-{name}.png")


@pytest.mark.timeout(300)
def test_a_thousand_runs_a_bug_and_its_repair(shop: Shop, chromium: Chromium) -> None:
    """Start by HTTP, find the cause, repair, retry a canary and then all, drain; every run ends well."""
    with shop.client() as client, chromium.visit() as visit, chromium.visit() as flower:
        page = visit.page

        currencies = ["CHF" if number % 20 == 0 else "EUR" for number in range(1000)]
        states = [{"number": n, "currency": currency} for n, currency in enumerate(currencies)]
        ids = [f"order-{number:04}" for number in range(1000)]
        started = client.start_many("orders", states, run_ids=ids, tags=["november"])
        assert {run.outcome for run in started.runs} == {"created"}

        page.goto(shop.sign_in)
        page.get_by_role("link", name="Runs", exact=True).click()
        assert "code=" not in page.url
        eventually(lambda: _open(client) == 0, 120, lambda: shop.said[-3000:])
        assert _failed(client) == 50

        page.get_by_role("link", name="Failures").click()
        group = page.locator("a.group")
        expect(group).to_have_count(1)
        expect(group).to_contain_text("50")
        expect(group).to_contain_text("KeyError")
        expect(group).to_contain_text("orders › charge")
        picture(visit, "2-failures")
        group.click()
        expect(page.locator("pre")).to_contain_text("RATES[order.currency]")
        expect(page.locator("pre")).to_contain_text("KeyError: 'CHF'")
        picture(visit, "3-cause")
        cause = page.url

        shop.repair()
        page.get_by_role("link", name="Fleet").click()
        for number in (1, 2):
            before = _began(client, number)
            page.get_by_role("button", name=re.compile(f"Drain worker{number}@")).click()
            eventually(lambda n=number, b=before: _began(client, n) > b, 60, lambda: shop.said)  # type: ignore[misc]
            page.reload()

        page.goto(cause)
        page.get_by_role("button", name="Retry one as canary").click()
        expect(page.get_by_text("It went through.")).to_be_visible(timeout=30_000)
        picture(visit, "4-canary")

        client.start_many("orders", [{"number": n} for n in range(1000, 1500)])
        page.get_by_role("button", name=re.compile("Retry the others")).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Retry 49 runs")
        picture(visit, "5-the-others")
        if page.get_by_label(re.compile("to confirm")).count():
            page.get_by_label(re.compile("to confirm")).fill("49")
        page.get_by_role("button", name="Retry 49 runs").click()

        page.get_by_role("link", name="Fleet").click()
        before = _began(client, 1)
        page.get_by_role("button", name=re.compile("Drain worker1@")).click()
        picture(visit, "6-drain")
        flower.page.goto(f"{shop.flower_url}/tasks?search=order-0980")
        eventually(lambda: _began(client, 1) > before, 60, lambda: shop.said)
        eventually(lambda: _open(client) == 0, 120, lambda: shop.said[-3000:])
        assert _failed(client) == 0

        flower.page.goto(f"{shop.flower_url}/tasks")
        flower.page.get_by_role("searchbox").fill("order-0980")
        rows = flower.page.locator("#tasks-table tbody tr")
        expect(rows.filter(has_text="orders.sign")).to_have_count(1)
        expect(rows.filter(has_text="orders.charge")).not_to_have_count(0)
        picture(flower, "7-flower")

        page.goto(f"{shop.url}/runs")
        expect(page.locator("main")).not_to_contain_text("failed 1")
        picture(visit, "8-finished")
        page.goto(f"{shop.url}/failures")
        expect(page.get_by_text("Nothing has failed.")).to_be_visible()
        page.goto(f"{shop.url}/runs/order-0980")
        expect(page.locator("main")).to_contain_text("completed")
        picture(visit, "9-one-run")
        assert client.state("order-0980")["total"] == pytest.approx(10.6)
        assert {note.command for note in client.notes("order-0980")} == {"retry"}
        assert visit.errors == []
        assert visit.dialogs == []
    assert shop.end() == 0
    told = [line for line in shop.said.splitlines() if line.startswith(("api", "flower"))]
    assert not any("Traceback" in line for line in told)


def _open(client: Client) -> int:
    """Return how many runs have not ended."""
    unfinished = [status for status in RunStatus if not status.ended]
    return sum(1 for _ in client.runs(status=unfinished))


def _failed(client: Client) -> int:
    return sum(1 for _ in client.runs(status="failed"))


def _began(client: Client, number: int) -> int:
    """Return when the worker of that number came up; 0: it is not up."""
    for worker in client.workers():
        if worker.name.startswith(f"worker{number}@") and worker.state == "up":
            return worker.started_at
    return 0
