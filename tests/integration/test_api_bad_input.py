"""What comes from outside and is not what was asked for: a problem each, and nothing has changed."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from integration.api_site import counting_app
from milepost.tasks import Milepost
from support.api_server import ApiServer
from support.redis_server import RedisServer

START = "/v1/pipelines/counting/runs"


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    limits = {"api_body_bytes": 100_000, "api_body_seconds": 0.5, "api_header_seconds": 0.5}
    with RedisServer() as redis, ApiServer(counting_app(redis.url), **limits) as server:
        yield server


@pytest.fixture(scope="module")
def http(server: ApiServer) -> Iterator[httpx.Client]:
    with server.http() as http:
        yield http


@pytest.fixture(autouse=True)
def nothing_changes(server: ApiServer) -> Iterator[None]:
    before = server.app.runs.counts()
    yield
    assert server.app.runs.counts() == before


def is_problem(answer: httpx.Response, status: int, slug: str) -> None:
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"]) == (status, status), problem
    assert problem["type"] == f"https://milepost.readthedocs.io/reference/errors#{slug}", problem
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in answer.text


@pytest.mark.fault("S13")
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "Expecting property name"),
        (b"nothing", "Expecting value"),
        (b'{"state": {"n": 1}, "state": {"n": 2}}', "is there twice"),
        (b'{"state": {"n": NaN}}', "NaN is no number"),
        (b'{"state": {"n": -Infinity}}', "-Infinity is no number"),
        (b'{"state": {"n": 1e999}}', "too large a number"),
        (b'{"state": "\xff"}', "no UTF-8: byte 11"),
        (b'{"state": "\\ud800"}', "half of a surrogate pair"),
        (b'{"state": ' + b"[" * 99 + b"]" * 99 + b"}", ""),
        (b'{"state": ' + b"[" * 100 + b"]" * 100 + b"}", "deeper than 100 levels"),
        (b"[" * 49_999 + b"]" * 49_999, "deeper than 100 levels"),
        (b"[" * 99_999, ""),
        (b'{"state": {"n": ' + b"9" * 50_000 + b"}}", ""),
    ],
)
def test_what_is_no_json(http: httpx.Client, body: bytes, says: str) -> None:
    """Malformed, of two meanings, too deep, not to be written: 400; what is just odd: 422 of the stage."""
    answer = http.post(START, content=body, headers={"Content-Type": "application/json"})
    if says:
        is_problem(answer, 400, "malformed-json")
        assert says in answer.json()["detail"]
    else:
        assert answer.status_code in (400, 422)


@pytest.mark.fault("S13")
def test_a_depth_of_100_000(server: ApiServer) -> None:
    """Levels that the body's size allows crash nobody."""
    with ApiServer(server.app) as wide, wide.http() as http:
        for text in (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b"[" * 100_000 + b"]" * 100_000):
            answer = http.post(START, content=text, headers={"Content-Type": "application/json"})
            is_problem(answer, 400, "malformed-json")
        assert http.get("/healthz").status_code == 200


@pytest.mark.fault("S5", "S6")
@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"state": {"n": 1}, "statee": 1}, "body.statee"),
        ([], "body"),
        ("text", "body"),
        (None, "body"),
        ({"run_id": 7}, "body.run_id"),
        ({"run_id": "../etc/passwd"}, "body.run_id"),
        ({"run_id": "a\n"}, "body.run_id"),
        ({"tags": "x"}, "body.tags"),
        ({"tags": ["x", ""]}, "body.tags.1"),
        ({"priority": "3"}, "body.priority"),
        ({"priority": 10}, "body.priority"),
        ({"priority": True}, "body.priority"),
        ({"delay": -1}, "body.delay"),
        ({"delay": "soon"}, "body.delay"),
        ({"delay": "99999999d"}, "body.delay"),
        ({"at": "tomorrow"}, "body.at"),
        ({"at": 0}, "body.at"),
        ({"at": "2026-01-01T00:00:00"}, "body.at"),
        ({"budget": {"usd": 0}}, "body.budget.usd"),
        ({"budget": {"usd": "5"}}, "body.budget.usd"),
        ({"budget": {"": 5}}, "body.budget"),
        ({"tenant": "a/b"}, "body.tenant"),
    ],
)
def test_what_is_of_another_shape(http: httpx.Client, body: object, at: str) -> None:
    """Unknown fields and wrong types are refused, and it is said where."""
    answer = http.post(START, json=body)
    is_problem(answer, 422, "invalid-request")
    assert answer.json()["errors"][0]["at"].startswith(at)


def test_a_state_that_is_none(http: httpx.Client) -> None:
    """The stage's model has the last word; what was sent is not repeated."""
    answer = http.post(START, json={"state": {"n": "hunter2"}})
    is_problem(answer, 422, "state-invalid")
    assert (answer.json()["stage"], answer.json()["path"]) == ("up", "state.n")
    assert "hunter2" not in answer.text


@pytest.mark.fault("S13")
@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs?status=odd",
        "/v1/runs?limit=0",
        "/v1/runs?limit=501",
        "/v1/runs?limit=x",
        "/v1/runs?since=yesterday",
        "/v1/runs?pipeline=a%00b",
        "/v1/runs?stat=failed",
        "/v1/runs/one?x=1",
        "/v1/runs/nobody/wait?timeout=61",
        "/v1/runs/nobody/wait?timeout=nan",
        "/v1/notes?limit=-1",
        "/v1/events?unknown=1",
        f"/v1/runs/{'a' * 129}/notes?limit=1",
    ],
)
def test_queries_that_cannot_be_read(http: httpx.Client, path: str) -> None:
    """A parameter that is not known is refused, like a value."""
    is_problem(http.get(path), 422, "invalid-request")


def test_other_kinds_of_body(http: httpx.Client) -> None:
    """Only JSON, and only where something is to be said."""
    form = http.post(START, data={"state": "1"})
    is_problem(form, 415, "unsupported-media-type")
    is_problem(http.post("/v1/runs/one/retry", json={"x": 1}), 422, "invalid-request")
    assert http.post("/v1/runs/one/retry", json={}).status_code == 404


def test_paths_and_methods_that_are_not_there(http: httpx.Client) -> None:
    """Problems, too; and nobody's page may ask from elsewhere."""
    is_problem(http.get("/v2/runs"), 404, "not-found")
    is_problem(http.get("/v1/runs/"), 404, "not-found")
    answer = http.put("/v1/runs/one")
    is_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET"
    asked = http.options("/v1/runs", headers={"Origin": "https://evil.example"})
    assert asked.status_code == 405
    assert not [name for name in asked.headers if name.startswith("access-control")]


@pytest.mark.fault("S12")
def test_what_browsers_are_told(http: httpx.Client) -> None:
    """On every answer, good and bad."""
    for answer in (http.get("/healthz"), http.get("/v1/runs"), http.get("/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in answer.headers


@pytest.mark.fault("S13")
def test_a_body_that_is_too_large(http: httpx.Client, server: ApiServer) -> None:
    """Announced or in chunks: it is refused, and 100 MB are not gathered first."""
    large = b'{"state": "' + b"x" * 200_000 + b'"}'
    announced = {"Content-Type": "application/json"}
    is_problem(http.post(START, content=large, headers=announced), 413, "too-large")

    def chunks() -> Iterator[bytes]:
        yield from (large[at : at + 10_000] for at in range(0, len(large), 10_000))

    is_problem(http.post(START, content=chunks(), headers=announced), 413, "too-large")

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 1_000_000

    is_problem(http.post(START, content=endless(), headers=announced), 413, "too-large")
    assert http.get("/v1/runs").status_code == 200


def test_a_body_without_a_key_is_not_read(server: ApiServer) -> None:
    """Who may not send it is told so before it is there."""
    with raw(server) as connection:
        connection.sendall(request("POST", START, ["Content-Length: 90000"]))
        assert read(connection).startswith(b"HTTP/1.1 401")


@pytest.mark.fault("S13")
def test_a_body_that_comes_too_slowly(server: ApiServer) -> None:
    """408, and the connection is closed; so it is where more is announced than comes."""
    key = server.key()
    about = [
        "Content-Length: 1000",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
    ]
    with raw(server) as connection:
        connection.sendall(request("POST", START, about))
        began = time.monotonic()
        connection.sendall(b"{")
        answer = read(connection)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"#too-slow" in answer
        assert time.monotonic() - began < 5


@pytest.mark.fault("S13")
def test_headers_that_never_come(server: ApiServer) -> None:
    """A connection that says nothing, or begins and does not go on, is closed."""
    for begun in (b"", b"GET /v1/runs HT", b"GET /v1/runs HTTP/1.1\r\nHost: x\r\n"):
        with raw(server) as connection:
            connection.sendall(begun)
            assert read(connection) == b""


def test_what_is_no_http(server: ApiServer) -> None:
    """It is refused, and the server goes on."""
    for nonsense in (b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET / HTTP/9.9\r\n\r\n"):
        with raw(server) as connection:
            connection.sendall(nonsense)
            assert read(connection).startswith((b"HTTP/1.1 400", b""))
    with server.http() as http:
        assert http.get("/healthz").status_code == 200


def test_what_breaks_inside_is_not_shown(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 without a word of the cause."""
    app: Milepost = server.app

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("password hunter2")

    with server.http() as http:
        with monkeypatch.context() as patch:
            patch.setattr(app.runs, "find", broken)
            answer = http.get("/v1/runs")
        is_problem(answer, 500, "internal")
        assert answer.json()["detail"] == "It was logged."
        assert http.get("/v1/runs").status_code == 200


def raw(server: ApiServer) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.settimeout(10)
    return connection


def request(method: str, path: str, headers: list[str]) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def read(connection: socket.socket) -> bytes:
    """Return what comes until an answer is whole, or the connection ends."""
    answer = b""
    try:
        while b"\r\n\r\n" not in answer or not answer.rstrip().endswith(b"}"):
            if not (part := connection.recv(65536)):
                break
            answer += part
    except ConnectionResetError:
        pass
    return answer
