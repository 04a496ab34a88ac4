"""Who may see and do what on the dashboard, and for how long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from secrets import token_hex

import pytest

from integration.dashboard import Dashboard, dashboard_on
from milepost.control.api.keys import Keys, Scope
from milepost.control.dashboard import session as sessions
from support.dashboard_scene import work
from support.dashboard_site import DashboardSite
from support.dashboard_visitor import Visitor
from support.redis_server import RedisServer

PAGES = (
    "/runs",
    "/runs/r1",
    "/runs/r1/do/cancel",
    "/start",
    "/start?pipeline=invoices",
    "/bulk?command=retry",
    "/bulk/none",
    "/failures",
    "/failures/none",
    "/fleet",
    "/storage",
)
FORMS = (
    ("/runs/r1/do/pause", Scope.OPERATE),
    ("/start", Scope.OPERATE),
    ("/bulk", Scope.OPERATE),
    ("/bulk/none/stop", Scope.OPERATE),
    ("/fleet/drain", Scope.ADMIN),
    ("/fleet/pause", Scope.ADMIN),
    ("/fleet/resume", Scope.ADMIN),
)


@pytest.fixture(autouse=True)
def one_run(board: Dashboard) -> None:
    board.app.start("invoices", {"customer": "acme"}, run_id="r1", tenant="red")


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_is_asked_to_sign_in(board: Dashboard, path: str) -> None:
    answer = board.stranger().get(path)

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?next=%2F")


@pytest.mark.parametrize(("path", "needed"), FORMS)
def test_a_form_is_taken_only_from_who_may(board: Dashboard, path: str, needed: Scope) -> None:
    """A key that may read sees no button, and what it sends all the same is refused."""
    answers = {
        scope: board.visitor(scope).post(path, name="heavy", command="pause", state="{}")
        for scope in Scope
    }

    allowed = {scope for scope, answer in answers.items() if answer.status_code != 403}
    assert allowed == {scope for scope in Scope if scope.covers(needed)}
    assert board.stranger().post(path, csrf="x").headers["location"] == "/sign-in?next=%2Fruns"


def test_who_may_only_read_sees_no_commands(board: Dashboard) -> None:
    reader, operator = board.visitor(Scope.READ), board.visitor(Scope.OPERATE)

    for path in ("/runs", "/runs/r1", "/fleet"):
        assert "/do/" not in reader.text(path)
        assert 'action="/bulk"><' not in reader.text(path)
        assert "Start a run" not in reader.text(path)
        assert "/fleet/drain" not in operator.text(path)
    assert "/runs/r1/do/pause" in operator.text("/runs/r1")
    assert "/fleet/drain" in board.visitor(Scope.ADMIN).text("/fleet")


@pytest.mark.fault("S12")
@pytest.mark.parametrize("token", ["", "0" * 64, "wrong"])
def test_a_form_without_the_sessions_token_is_refused(board: Dashboard, token: str) -> None:
    answer = board.visitor().post("/runs/r1/do/pause", csrf=token)

    assert answer.status_code == 403
    assert board.app.runs.get("r1").status == "queued"  # type: ignore[union-attr]


def test_the_token_of_another_session_is_refused(board: Dashboard) -> None:
    other = board.visitor().token

    assert board.visitor().post("/runs/r1/do/pause", csrf=other).status_code == 403


@pytest.mark.fault("S12")
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "multipart/form-data; boundary=x"},
    ],
)
def test_a_form_from_elsewhere_is_refused(board: Dashboard, headers: dict[str, str]) -> None:
    """Even with the right token: somebody may have got hold of it."""
    answer = board.visitor().post("/runs/r1/do/pause", headers=headers)

    assert answer.status_code == 403
    assert board.app.runs.get("r1").status == "queued"  # type: ignore[union-attr]


def test_a_form_that_is_too_long_is_refused(board: Dashboard) -> None:
    visitor = board.visitor()

    answer = visitor.post("/start", pipeline="invoices", state="x" * 9_000_000)

    assert answer.status_code == 403
    assert "8,388,608 bytes" in answer.text


def test_a_key_bound_to_a_tenant_sees_that_tenant_alone(board: Dashboard) -> None:
    board.app.start("invoices", {"customer": "odd"}, run_id="blue-1", tenant="blue")
    board.app.start("invoices", {"customer": "blocked"}, run_id="red-1", tenant="red")
    for run_id in ("blue-1", "red-1"):
        work(board.app, run_id)
    visitor = board.visitor(Scope.ADMIN, tenant="red")
    (blue,) = [g for g in board.app.runs.groups() if g.example.run_id == "blue-1"]

    shown = visitor.text("/runs") + visitor.text("/runs?tenant=blue") + visitor.text("/failures")
    assert "red-1" in shown
    assert "blue-1" not in shown
    assert "ValueError" not in shown
    for path in (
        "/runs/blue-1",
        "/runs/blue-1/do/cancel",
        f"/failures/{blue.group}",
        f"/failures/{blue.group}?canary=blue-1",
        "/fleet",
        "/storage",
    ):
        assert visitor.get(path).status_code == 404, path
    assert visitor.post("/runs/blue-1/do/retry").status_code == 404
    assert visitor.post("/fleet/pause", name="heavy").status_code == 404
    assert visitor.get("/runs?run=blue-1").status_code == 200
    chosen = visitor.text("/bulk?command=cancel&which=chosen&run=blue-1&run=red-1")
    assert "Cancel 1 run" in chosen
    assert 'name="run" value="red-1"' in chosen
    assert 'name="run" value="blue-1"' not in chosen


def test_a_tenants_start_is_that_tenants(board: Dashboard) -> None:
    visitor = board.visitor(tenant="red")
    board.app.start("invoices", {"customer": "x"}, run_id="taken", tenant="blue")
    form = {"pipeline": "invoices", "state": '{"customer": "x"}', "tenant": "blue"}

    visitor.post("/start", run_id="mine", **form)
    taken = visitor.post("/start", run_id="taken", **form)

    assert board.app.runs.get("mine").tenant == "red"  # type: ignore[union-attr]
    assert taken.status_code == 422
    assert "is taken" in taken.text


def test_a_revoked_key_ends_its_sessions(board: Dashboard) -> None:
    visitor = board.visitor()
    assert visitor.get("/runs").status_code == 200
    keys = Keys(board.app.runs)

    keys.revoke(keys.all()[0].id)

    assert visitor.get("/runs").headers["location"].startswith("/sign-in")


def test_an_expired_key_ends_its_sessions(
    board: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = board.visitor(seconds=60.0)
    assert visitor.get("/runs").status_code == 200

    now = time.time()
    monkeypatch.setattr("milepost.control.api.keys.time.time", lambda: now + 61)

    assert visitor.get("/runs").status_code == 303


def test_a_session_ends(board: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = board.visitor()
    cookie = visitor.client.cookies[sessions.COOKIE]
    assert board.site.site.sessions.read(cookie) is not None

    now = time.time()
    monkeypatch.setattr(
        "milepost.control.dashboard.session.time.time", lambda: now + sessions.SECONDS + 1
    )

    assert board.site.site.sessions.read(cookie) is None


def test_no_byte_of_a_cookie_can_be_changed(board: Dashboard) -> None:
    visitor = board.visitor()
    cookie = visitor.client.cookies[sessions.COOKIE]
    read = board.site.site.sessions.read

    assert read(cookie) is not None
    changed = [
        cookie[:at] + ("0" if c != "0" else "1") + cookie[at + 1 :] for at, c in enumerate(cookie)
    ]
    assert [text for text in changed if read(text)] == []
    assert [
        text for text in ("", ".", "a.b.c", "a.b.c.d", "é" * 9, token_hex(40)) if read(text)
    ] == []


def test_signing_out_forgets_the_cookie(board: Dashboard) -> None:
    visitor = board.visitor()

    visitor.post("/sign-out")

    assert visitor.get("/runs").status_code == 303


def test_the_cookie_is_for_the_browser_alone(board: Dashboard) -> None:
    stranger = board.stranger()

    plain = stranger.post("/sign-in", csrf="", key=board.site.key())

    cookie = plain.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie


def test_behind_https_the_cookie_never_travels_without(board: Dashboard) -> None:
    headers = {"X-Forwarded-Proto": "https", "Sec-Fetch-Site": "same-origin"}

    answer = board.stranger().post("/sign-in", headers, csrf="", key=board.site.key())

    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.fault("S16")
@pytest.mark.parametrize(
    "after", ["https://evil.example", "//evil.example", "/\\evil.example", "/a\\b", "/a\nb", "x"]
)
def test_signing_in_leads_nowhere_else(board: Dashboard, after: str) -> None:
    answer = board.stranger().post("/sign-in", csrf="", key=board.site.key(), next=after)

    assert answer.headers["location"] == "/runs"


def test_a_link_signs_in_and_leaves_no_trace_of_the_key(board: Dashboard) -> None:
    key = board.site.key()
    stranger = board.stranger()

    answer = stranger.get(f"/sign-in?key={key}")

    assert answer.status_code == 303
    assert answer.headers["location"] == "/signed-in"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert key not in answer.text
    assert stranger.get("/runs").status_code == 200


def test_a_link_does_not_sign_in_over_a_session(board: Dashboard) -> None:
    """Who is lured onto another's link shall not work in that one's name."""
    visitor = board.visitor(name="ann")

    visitor.get(f"/sign-in?key={board.site.key(name='mallory')}")

    assert "mallory" not in visitor.text("/runs")


def test_who_guesses_keys_has_to_wait(board: Dashboard) -> None:
    stranger = board.stranger()

    answers = [stranger.post("/sign-in", csrf="", key=f"mp_{n:012x}_x") for n in range(10)]
    late = stranger.post("/sign-in", csrf="", key=board.site.key())

    assert {answer.status_code for answer in answers} == {401}
    assert late.status_code == 429
    assert 0 < int(late.headers["retry-after"]) <= 60


@pytest.mark.fault("S11")
def test_every_answer_is_protected(board: Dashboard) -> None:
    visitor = board.visitor(Scope.ADMIN)
    paths = (*PAGES, "/", "/sign-in", "/runs/%2e%2e", "/runs/nobody", "/dashboard/x/y")

    for answer in [visitor.get(path) for path in paths]:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "same-origin"


def test_stores_are_named_without_passwords() -> None:
    with RedisServer("--requirepass", "tell-nobody") as server:
        url = server.url.replace("//", "//:tell-nobody@")
        with dashboard_on(url) as board:
            shown = board.visitor().text("/storage")

    assert f"127.0.0.1:{server.port}" in shown
    assert "tell-nobody" not in shown


@pytest.fixture
def hosted(board: Dashboard) -> Iterator[DashboardSite]:
    """The dashboard as part of the API."""
    with DashboardSite(board.app, board.fleet, hosted=True) as site:
        yield site


def test_a_code_signs_in_once(hosted: DashboardSite) -> None:
    with Visitor(hosted, None) as first, Visitor(hosted, None) as second:
        assert first.get("/sign-in?code=once").headers["location"] == "/signed-in"
        assert second.get("/sign-in?code=once").status_code == 401
        assert "local" in first.text("/runs")
        assert second.get("/runs").status_code == 303


def test_a_session_reads_the_api_but_commands_nothing_there(hosted: DashboardSite) -> None:
    """A form of another site that brings the cookie along has no token for the API."""
    with Visitor(hosted, hosted.key()) as visitor, Visitor(hosted, None) as stranger:
        assert visitor.get("/v1/me").json() == {"name": "ann"}
        assert visitor.client.post("/v1/me").json() == {"name": None}
        assert stranger.get("/v1/me").json() == {"name": None}
        stranger.client.cookies[sessions.COOKIE] = "local.9999999999.x.y"
        assert stranger.get("/v1/me").json() == {"name": None}
        keys = Keys(hosted.app.runs)
        keys.revoke(keys.all()[-1].id)
        assert visitor.get("/v1/me").json() == {"name": None}
