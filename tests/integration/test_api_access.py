"""Who may do what: a table that is made from the router, so that no route is forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, WebSocketRoute

from integration.api_site import counting_app, finish
from milepost.control.api.app import create_app
from milepost.control.api.keys import Scope
from milepost.control.api.route import ApiRoute, PublicRoute
from milepost.control.api.settings import ApiSettings
from support.api_server import ApiServer
from support.redis_server import RedisServer
from support.waiting import eventually

PUBLIC = {"/healthz", "/readyz"}
ADMINS = {
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("DELETE", "/v1/keys/{key_id}"),
    ("POST", "/v1/workers/{name}/drain"),
    ("POST", "/v1/queues/{name}/pause"),
    ("POST", "/v1/queues/{name}/resume"),
}
"""What only admins may; of the rest, whatever changes something needs `operate`."""
NEEDS_ALL_TENANTS = {"/metrics", "/v1/workers", "/v1/queues"} | {path for _, path in ADMINS}
BODIES: dict[str, Any] = {
    "rewind": {"stage": "up"},
    "edit": {"patch": {"n": 2}},
    "fork": {},
    "top-up": {"amounts": {"usd": 1}},
    "bulk": {"command": "retry", "dry_run": True},
    "runs": {"state": {}},
    "runs:batch": {"runs": [{"state": {}}]},
    "keys": {"name": "new", "scope": "read"},
}


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with RedisServer() as redis, ApiServer(counting_app(redis.url)) as server:
        yield server


def routes(app: FastAPI) -> list[tuple[str, APIRoute]]:
    """Every method of every route."""
    found = []
    for route in app.routes:
        if isinstance(route, APIRoute):
            found += [(method, route) for method in sorted(route.methods or ())]
    return found


def expected(method: str, route: APIRoute, caller: str) -> set[int]:
    """What a caller gets, by the rules above and not by what the route says of itself."""
    allowed = {200, 201, 204, 404, 409}
    if route.path in PUBLIC:
        return {200}
    if caller in ("nobody", "wrong", "expired", "revoked"):
        return {401}
    if caller == "tenant" and route.path in NEEDS_ALL_TENANTS:
        return {403}
    if (method, route.path) in ADMINS:
        return allowed if caller == "admin" else {403}
    if method != "GET":
        return allowed if caller in ("operate", "admin", "tenant") else {403}
    return allowed


def callers(server: ApiServer) -> dict[str, str]:
    """A key of each sort."""
    revoked, key = server.made()
    server.keys.revoke(key.id)
    expired = server.key(seconds=0.001)
    eventually(lambda: server.keys.verify(expired) is None)
    good = server.key()
    return {
        "nobody": "",
        "wrong": f"{good[:-1]}{'A' if good[-1] != 'A' else 'B'}",
        "expired": expired,
        "revoked": revoked,
        "read": server.key(Scope.READ),
        "operate": server.key(Scope.OPERATE),
        "admin": good,
        "tenant": server.key(Scope.ADMIN, tenant="acme"),
    }


@pytest.mark.fault("S4")
def test_every_route_for_everybody(server: ApiServer) -> None:
    """No key, wrong, expired, revoked, and each scope, on every method of every route."""
    tried = 0
    for name, key in callers(server).items():
        with server.http(key) as http:
            for method, route in routes(server.served):
                path = re.sub(r"\{\w+\}", "nothing", route.path)
                if path.endswith("counting"):
                    continue
                if route.path == "/v1/events" and name in ("read", "operate", "admin", "tenant"):
                    with http.stream(method, path) as stream:
                        assert stream.status_code == 200
                    continue
                body = BODIES.get(path.rpartition("/")[2]) if method == "POST" else None
                answer = http.request(method, path, json=body)
                wanted = expected(method, route, name)
                assert answer.status_code in wanted, f"{name}: {method} {path}: {answer.text}"
                if answer.status_code >= 400:
                    assert answer.headers["content-type"] == "application/problem+json"
                if answer.status_code == 401:
                    assert answer.headers["www-authenticate"] == 'Bearer realm="milepost"'
                tried += 1
    assert tried > 200


@pytest.mark.fault("S4")
def test_no_route_can_be_forgotten(server: ApiServer) -> None:
    """All are of a class that asks who comes, or public by name, or sockets, which ask themselves."""

    def is_guarded(route: BaseRoute) -> bool:
        path = getattr(route, "path", "")
        return (
            isinstance(route, ApiRoute)
            or (isinstance(route, PublicRoute) and path in PUBLIC)
            or (isinstance(route, WebSocketRoute) and path in ("/v1/ws", "/v1/runs/{run_id}/ws"))
        )

    mine = [r for r in server.served.routes if getattr(r, "path", "").startswith(("/v1", "/metr"))]
    assert [route for route in mine if not is_guarded(route)] == []
    router = APIRouter(route_class=ApiRoute)
    with pytest.raises(TypeError, match="says not who may ask it"):
        router.get("/v1/secrets")(lambda: "open")


def test_figures_can_be_public(server: ApiServer) -> None:
    """Only where a setting says so."""
    settings = ApiSettings(api_metrics_public=True)
    kinds = [
        type(route)
        for route in create_app(server.app, settings).routes
        if getattr(route, "path", "") == "/metrics"
    ]
    assert kinds[0] is PublicRoute
    with server.http("") as http:
        assert http.get("/metrics").status_code == 401


@pytest.mark.fault("S4")
def test_another_tenants_run_is_no_run(server: ApiServer) -> None:
    """On every route about a run the answer is that of a run which does not exist, and nothing happens."""
    app = server.app
    app.start("counting", {"n": 1}, run_id="theirs", tenant="other", budget={"usd": 1})
    app.start("counting", {"n": 1}, run_id="anybodys", budget={"usd": 1})
    with server.http(server.key(tenant="acme")) as http:
        tried = 0
        for method, route in routes(server.served):
            if "{run_id}" not in route.path:
                continue
            last = route.path.rpartition("/")[2]
            body = BODIES.get(last) if method == "POST" else None

            said = []
            for run_id in ("nobody", "theirs", "anybodys"):
                path = route.path.replace("{run_id}", run_id).replace("{checkpoint_id}", "c")
                answer = http.request(method, path, json=body)
                said.append((answer.status_code, answer.text.replace(run_id, "RUN")))
            assert said[0][0] == 404
            assert said == [said[0]] * 3
            tried += 1
    assert tried >= 15
    assert (app.run("theirs").status, app.run("anybodys").status) == ("queued", "queued")
    assert app.run("theirs").notes == []


def test_a_tenants_key_sees_and_starts_its_own_runs(server: ApiServer) -> None:
    """Listings, failures, notes, bulk and events are of its runs alone."""
    app = server.app
    for tenant in ("here", "there"):
        app.start("counting", {"broken": True}, run_id=f"of-{tenant}", tenant=tenant)
        finish(app, f"of-{tenant}")
    with server.client(tenant="here") as here, server.client() as everybody:
        assert [run.run_id for run in here.runs()] == ["of-here"]
        assert [run.run_id for run in here.runs(tenant="there")] == ["of-here"]
        assert [group.example.run_id for group in here.failures().groups] == ["of-here"]
        assert here.failures().groups[0].count == 1
        everybody.fork("of-there", "up")
        everybody.fork("of-here", "up", as_run="forked")
        assert {note.run_id for note in here.notes()} == {"of-here"}
        assert here.bulk("retry", {}, dry_run=True).found == 1
        assert here.bulk("retry", {"tenant": "there"}, yes=True).run_ids == ("of-here",)
        assert app.run("of-there").status == "failed"
        assert here.start("counting", {}).tenant == "here"
        with pytest.raises(Exception, match="it starts runs for it alone"):
            here.start("counting", {}, tenant="there")
        with pytest.raises(Exception, match=r"The run id of-there is taken\."):
            here.start("counting", {"broken": True}, run_id="of-there")
        with (
            server.http(server.key(tenant="here")) as http,
            http.stream("GET", "/v1/events") as stream,
        ):
            eventually(lambda: server.site.feed._primed)
            app.start("loose", {}, run_id="not-mine", tenant="there")
            app.start("loose", {}, run_id="mine", tenant="here")
            told = next(line for line in stream.iter_lines() if line.startswith("data"))
        assert '"run_id":"mine"' in told


def test_a_key_may_ask_so_often(server: ApiServer) -> None:
    """Then it is told when to come again; other keys are not kept waiting."""
    with (
        ApiServer(server.app, api_rate_per_second=0.5, api_rate_burst=3) as slow,
        slow.http() as http,
        slow.http() as other,
    ):
        statuses = [http.get("/v1/runs").status_code for _ in range(5)]
        refused = http.get("/v1/runs")
        assert other.get("/v1/runs").status_code == 200
    assert statuses == [200, 200, 200, 429, 429]
    assert int(refused.headers["retry-after"]) in (1, 2, 3)
    assert refused.json()["type"].endswith("#too-many-requests")
