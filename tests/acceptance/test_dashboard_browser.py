"""The dashboard in a real browser: hostile content, keys instead of a mouse, both themes, no script."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict

import pytest
from playwright.sync_api import Page, expect

from acceptance.accessibility import faults, poor_contrasts, unseen_focus
from integration.dashboard import Dashboard, dashboard_on
from milepost.control.api.keys import Keys, Scope
from milepost.control.dashboard.bulk_jobs import BulkJob
from milepost.tasks import RunStatus
from milepost.tasks.runs.base import Bid, Claim
from support.browser import Chromium, Visit
from support.dashboard_scene import work, working
from support.dashboard_site import DashboardSite
from support.redis_server import RedisServer
from support.waiting import eventually

HOSTILE = (
    "\"><img src=x onerror=alert(1)></script><script>alert(2)</script>'-->]]>{{7*7}}"
    "<svg/onload=alert(3)><a href='javascript:alert(4)'>x</a>"
    "\u202egnp.exe\u2066\x00\x1b[31m</textarea></title>"
)
EVENTS = ("/v1/",)
"""Served by the API, which these tests do without."""


@pytest.fixture(scope="module")
def board() -> Iterator[Dashboard]:
    """A scene with something of everything, hostile throughout."""
    with RedisServer() as server, dashboard_on(server.url) as board:
        app = board.app
        for name, text in {"hostile": HOSTILE, "long": HOSTILE * 5_000}.items():
            app.start("texts", {"text": text}, run_id=name, tags=["eu"], tenant="red")
            work(app, name)
        app.lifecycle.on_behalf_of(HOSTILE).rewind("hostile", "first")
        work(app, "hostile")
        for n, customer in enumerate(["acme", "odd", "odd", "blocked", "acme"]):
            app.start("invoices", {"customer": customer}, run_id=f"inv-{n}")
            work(app, f"inv-{n}", 20 if n else 1)
        app.runs.put_aside(HOSTILE, HOSTILE)
        head = app.runs.get("inv-0")
        assert head is not None
        claim = app.runs.claim(head.step, Bid("owner", "nonce", 1, HOSTILE))
        assert isinstance(claim, Claim)
        app.runs.save(claim, path="", progress="[7, 9]", record=None)
        yield board


def signed_in(
    chromium: Chromium, board: Dashboard, scope: Scope = Scope.ADMIN, **options: object
) -> Visit:
    """Return a page of somebody who has signed in through the form."""
    visit = chromium.visit(ignore=EVENTS, **options)
    page = visit.page
    page.goto(f"{board.site.url}/sign-in")
    page.get_by_label("API key").fill(board.site.key(scope))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/runs")
    return visit


def bulk_job(board: Dashboard) -> str:
    """Return the id of a bulk command that goes on."""
    job = BulkJob(
        "a1", "retry", HOSTILE, HOSTILE, 40, done=7, refused={"Conflict": 2}, examples=[HOSTILE]
    )
    job.began_at = job.told_at = time.time()
    board.app.runs.keep("bulk-job", job.id, json.dumps(asdict(job)))
    return job.id


def pages(board: Dashboard) -> list[str]:
    """Return the address of every page."""
    runs = board.app.runs
    group = next(g.group for g in runs.groups() if g.example.run_id in ("hostile", "long"))
    checkpoint = board.app.checkpoints.list_checkpoints("hostile")[0].checkpoint_id
    return [
        "/runs",
        "/runs?status=failed&pipeline=texts&since=1d",
        "/runs?status=nonsense&tag=a/b",
        "/runs/hostile",
        "/runs/long",
        "/runs/inv-0",
        "/runs/inv-4",
        f"/runs/hostile/checkpoints/{checkpoint}",
        "/runs/inv-4/do/rewind",
        "/runs/inv-4/do/delete",
        "/runs/inv-4/do/fork",
        "/runs/hostile/do/edit",
        "/runs/hostile/do/skip",
        "/failures",
        f"/failures/{group}",
        f"/failures/{group}?canary=inv-4",
        "/fleet",
        "/storage",
        "/start",
        "/start?pipeline=invoices",
        "/bulk?command=delete&status=failed",
        f"/bulk/{bulk_job(board)}",
        "/runs/nowhere",
    ]


@pytest.mark.fault("S11")
def test_nothing_hostile_comes_alive(chromium: Chromium, board: Dashboard) -> None:
    visit = signed_in(chromium, board)
    visit.ignore = (*EVENTS, "/runs/nowhere")
    page = visit.page

    for path in pages(board):
        page.goto(board.site.url + path)
        assert page.locator("img, a[href^=javascript], script:not([src])").count() == 0, path
        assert page.evaluate("document.querySelectorAll('svg[onload]').length") == 0

    assert visit.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_can_be_read_with_other_means(
    chromium: Chromium, board: Dashboard, scheme: str, width: int
) -> None:
    """Labels, headings, landmarks, captions, contrast; and nothing runs out of the window."""
    size = {"width": width, "height": 800}
    page = signed_in(chromium, board, viewport=size, color_scheme=scheme).page

    found = {}
    for path in pages(board):
        page.goto(board.site.url + path)
        if wrong := faults(page) + poor_contrasts(page):
            found[path] = wrong

    assert found == {}


def test_the_menu_stays_in_a_narrow_window(chromium: Chromium, board: Dashboard) -> None:
    page = signed_in(chromium, board, viewport={"width": 390, "height": 800}).page

    for run_id in ("inv-1", "inv-4"):
        page.goto(f"{board.site.url}/runs/{run_id}")
        page.get_by_text("More", exact=True).click()
        expect(page.get_by_role("link", name="Delete")).to_be_in_viewport()
        assert faults(page) == []


def test_the_rules_find_what_is_wrong(chromium: Chromium, board: Dashboard) -> None:
    """Else the test above could not fail."""
    page = signed_in(chromium, board).page
    page.evaluate(
        """() => {
          document.querySelector("label[for=run]").remove();
          document.querySelector("caption").remove();
          document.querySelector("h1").style.color = "#aaa";
        }"""
    )

    assert {fault.split(":")[0] for fault in faults(page)} >= {"no label", "no caption", "inline"}
    assert any("Runs" in poor for poor in poor_contrasts(page))


def test_the_focus_is_always_seen(chromium: Chromium, board: Dashboard) -> None:
    page = signed_in(chromium, board).page

    for path in (
        "/runs",
        "/runs/inv-1",
        "/runs/inv-1/do/edit",
        "/fleet",
        "/start?pipeline=invoices",
    ):
        page.goto(board.site.url + path)
        assert unseen_focus(page) == [], path


def tab_to(page: Page, name: str) -> None:
    """Press Tab until something of that name has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == name:
            return
    raise AssertionError(f"Tab does not lead to {name!r}")


def test_a_run_is_retried_without_a_mouse(chromium: Chromium, board: Dashboard) -> None:
    page = signed_in(chromium, board, Scope.OPERATE).page
    board.app.start("invoices", {"customer": "odd"}, run_id="by-keys")
    work(board.app, "by-keys")
    page.reload()

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    tab_to(page, "by-keys")
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/by-keys")
    tab_to(page, "More")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Rewind")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Rewind")).to_be_hidden()
    page.reload()
    tab_to(page, "Retry")
    page.keyboard.press("Enter")

    page.wait_for_url("**/runs/by-keys?done=retry")
    expect(page.get_by_role("status").first).to_contain_text("Retried")
    assert board.app.runs.get("by-keys").status is RunStatus.QUEUED  # type: ignore[union-attr]


def test_a_page_keeps_itself_up_to_date(chromium: Chromium, board: Dashboard) -> None:
    """Without the API's events it asks from time to time."""
    visit = signed_in(chromium, board)
    page = visit.page
    board.app.start("invoices", {"customer": "acme"}, run_id="live")
    page.goto(f"{board.site.url}/runs/live")
    status = page.locator("#status")
    expect(status).to_contain_text("queued")

    with working(board.app, ["live"]):
        expect(status).to_contain_text("completed", timeout=15_000)

    expect(page.locator("#way")).to_contain_text("send")
    assert visit.complaints == []


def test_a_page_follows_the_events_of_its_run(chromium: Chromium, board: Dashboard) -> None:
    """Where the API sends them, nobody has to ask: the page is up to date within a moment."""
    board.app.start("invoices", {"customer": "acme"}, run_id="followed")
    with DashboardSite(board.app, board.fleet, hosted=True) as site:
        visit = chromium.visit()
        page, asked = visit.page, []
        page.goto(f"{site.url}/sign-in?key={site.key()}")
        page.wait_for_url("**/runs")
        with page.expect_response("**/events") as stream:
            page.goto(f"{site.url}/runs/followed")
        assert stream.value.status == 200
        page.on("request", lambda request: asked.append(request.url))
        work(board.app, "followed", 1)
        expect(page.locator("#way .due")).to_contain_text("charge", timeout=2_000)
        work(board.app, "followed")
        expect(page.locator("#status")).to_contain_text("completed", timeout=2_000)
    assert visit.complaints == []
    assert 1 <= len(asked) <= 20


def test_a_page_whose_session_has_ended_asks_to_sign_in(
    chromium: Chromium, board: Dashboard
) -> None:
    page = signed_in(chromium, board).page
    keys = Keys(board.app.runs)

    keys.revoke(keys.all()[-1].id)

    page.wait_for_url("**/sign-in?next=%2Fruns", timeout=15_000)


def test_the_canary_is_visit(chromium: Chromium, board: Dashboard) -> None:
    for n in range(2):
        board.app.start("texts", {"text": "no such table"}, run_id=f"bird-{n}")
        work(board.app, f"bird-{n}")
    page = signed_in(chromium, board, Scope.OPERATE).page
    page.goto(f"{board.site.url}/failures")
    page.get_by_role("link", name="no such table").click()
    board.app.lifecycle.edit("bird-1", {"text": "", "fixed": True})

    page.get_by_role("button", name="Retry one as canary").click()
    expect(page.locator("#canary")).to_contain_text("queued")
    with working(board.app, ["bird-1"]):
        expect(page.locator("#canary")).to_contain_text("It went through", timeout=15_000)

    page.get_by_role("button", name="Retry the others…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Retry 1 run")
    page.get_by_label("Type 1 to confirm").fill("1")
    page.get_by_role("button", name="Retry 1 run").click()
    expect(page.locator("#job")).to_contain_text("Done.", timeout=15_000)
    assert board.app.runs.get("bird-0").status is RunStatus.QUEUED  # type: ignore[union-attr]


def test_everything_but_news_works_without_script(chromium: Chromium, board: Dashboard) -> None:
    page = signed_in(chromium, board, java_script_enabled=False).page
    board.app.start("invoices", {"customer": "odd"}, run_id="no-script")
    work(board.app, "no-script")

    page.goto(f"{board.site.url}/runs/no-script")
    page.get_by_text("More", exact=True).click()
    page.get_by_role("link", name="Edit state").click()
    page.get_by_label("State for charge").fill('{"customer": 1}')
    page.get_by_role("button", name="Check and save").click()
    assert (
        page.locator("#state-error").inner_text().startswith("The state is not what stage charge")
    )
    assert page.get_by_label("State for charge").input_value() == '{"customer": 1}'
    page.get_by_label("State for charge").fill('{"customer": "acme"}')
    page.get_by_role("button", name="Check and save").click()
    page.get_by_role("button", name="Retry").click()
    assert "Retried" in page.locator("main").inner_text()
    page.get_by_role("button", name="Dark theme").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.get_by_role("button", name="Sign out").click()
    assert page.url.endswith("/sign-in")


def test_an_edited_state_keeps_what_cannot_be_seen(chromium: Chromium, board: Dashboard) -> None:
    """It is shown written out, as JSON writes it, and so stays what it was."""
    page = signed_in(chromium, board).page
    page.goto(f"{board.site.url}/runs/hostile/do/edit")
    shown = page.get_by_label("State for second").input_value()
    assert "\\u202e" in shown

    page.get_by_role("button", name="Check and save").click()

    head = board.app.runs.get("hostile")
    assert head is not None
    assert json.loads(shown) == board.app.checkpoints.get(head.key).state
    assert board.app.checkpoints.get(head.key).state["text"] == HOSTILE


@pytest.mark.fault("S12")
def test_a_forged_form_of_another_site_does_nothing(chromium: Chromium, board: Dashboard) -> None:
    """Not even the cookie comes along; and if it did, the form would be refused."""
    visit = signed_in(chromium, board)
    page = visit.page
    board.app.start("invoices", {"customer": "x"}, run_id="forged")
    elsewhere = board.site.url.replace("127.0.0.1", "localhost")
    forged = f"<form method=post action={board.site.url}/runs/forged/do/cancel><button>Win</button></form>"
    page.route(
        f"{elsewhere}/prize", lambda route: route.fulfill(body=forged, content_type="text/html")
    )

    page.goto(f"{elsewhere}/prize")
    page.get_by_role("button").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Not taken")
    assert board.app.runs.get("forged").status is RunStatus.QUEUED  # type: ignore[union-attr]


def test_a_sign_in_link_leaves_the_key_nowhere(chromium: Chromium, board: Dashboard) -> None:
    key = board.site.key()
    visit = chromium.visit(ignore=EVENTS)
    page, asked = visit.page, []
    page.on(
        "request", lambda request: asked.append((request.url, request.headers.get("referer", "")))
    )

    page.goto(f"{board.site.url}/sign-in?key={key}")
    page.wait_for_url("**/runs")

    assert page.evaluate("history.length") <= 2
    assert [url for url, _ in asked if key in url] == [f"{board.site.url}/sign-in?key={key}"]
    assert [referer for _, referer in asked if key in referer] == []
    page.go_back()
    assert key not in page.url
    assert key not in page.content()


def test_a_link_from_another_site_signs_in_with_a_click(
    chromium: Chromium, board: Dashboard
) -> None:
    """A cookie that is SameSite=Strict stays behind: nobody else shall decide in whose name you work."""
    page = chromium.visit(ignore=EVENTS).page
    link = f"<a href={board.site.url}/sign-in?key={board.site.key()}>Sign in</a>"
    page.route(
        "http://chat.localhost/*", lambda route: route.fulfill(body=link, content_type="text/html")
    )
    page.goto("http://chat.localhost/room")

    page.get_by_role("link").click()
    page.get_by_role("button", name="Sign in").click()

    page.wait_for_url("**/runs")
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")


def test_chosen_runs_are_counted(chromium: Chromium, board: Dashboard) -> None:
    page = signed_in(chromium, board, Scope.OPERATE).page

    page.get_by_role("checkbox", name="Choose run inv-1").check()
    page.get_by_role("checkbox", name="Choose run inv-2").check()
    expect(page.get_by_role("button", name="the chosen 2")).to_be_visible()
    page.get_by_role("button", name="the chosen 2").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Retry 2 runs")
    eventually(lambda: page.url.count("run=inv-") == 2, 5)
