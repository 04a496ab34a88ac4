"""Bulk commands of the dashboard in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from acceptance.accessibility import faults, poor_contrasts
from acceptance.test_dashboard_browser import signed_in
from integration.dashboard import Dashboard, dashboard_on
from milepost.control.api.keys import Scope
from support.browser import Chromium


@pytest.fixture
def board(redis_url: str) -> Iterator[Dashboard]:
    with dashboard_on(redis_url) as board:
        yield board


def test_a_bulk_command_is_stopped_by_keyboard(chromium: Chromium, board: Dashboard) -> None:
    for n in range(3):
        board.app.start("invoices", {"customer": "acme"}, run_id=f"many-{n}", tags=["many"])
    visit = signed_in(chromium, board, Scope.OPERATE)
    page = visit.page
    page.goto(f"{board.site.url}/bulk?command=pause&tag=many")
    page.get_by_label("Type 3 to confirm").fill("3")
    page.get_by_label("Runs per second").fill("0.1")
    page.get_by_role("button", name="Pause 3 runs").click()
    expect(page.locator("#job dd").first).to_have_text("1")

    page.get_by_role("button", name="Stop").focus()
    page.keyboard.press("Enter")

    expect(page.get_by_role("alert")).to_have_text("Stopped by ann. What is done stands.")
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    assert faults(page) == []
    assert visit.complaints == []


def test_a_set_that_has_grown_is_confirmed_again(chromium: Chromium, board: Dashboard) -> None:
    board.app.start("invoices", {"customer": "acme"}, run_id="more-0", tags=["more"])
    page = signed_in(chromium, board, Scope.OPERATE).page
    page.goto(f"{board.site.url}/bulk?command=cancel&tag=more")
    board.app.start("invoices", {"customer": "acme"}, run_id="more-1", tags=["more"])
    page.get_by_label("Type 1 to confirm").fill("1")
    page.get_by_role("button", name="Cancel 1 run").click()

    expect(page.get_by_role("alert")).to_contain_text("There were 1 of them when you looked")
    assert faults(page) + poor_contrasts(page) == []
    page.get_by_label("Type 2 to confirm").fill("2")
    page.get_by_role("button", name="Cancel 2 runs").click()
    expect(page.get_by_role("status").first).to_contain_text("Done.")
