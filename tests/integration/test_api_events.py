"""Following runs: Server-Sent Events and WebSockets."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from integration.api_site import counting_app, finish
from milepost.checkpointing import Unavailable
from milepost.control.api.keys import Scope
from milepost.control.client_events import RunEvent
from milepost.tasks import Milepost
from support.api_server import ApiServer
from support.waiting import eventually


@pytest.fixture
def app(redis_url: str) -> Iterator[Milepost]:
    app = counting_app(redis_url)
    yield app
    app.close()


@pytest.fixture
def server(app: Milepost) -> Iterator[ApiServer]:
    with ApiServer(app, api_poll_seconds=0.05, api_heartbeat_seconds=0.2) as server:
        yield server


def following(
    server: ApiServer, *, count: int, **asked: Any
) -> tuple[threading.Thread, list[RunEvent]]:
    """Follow runs in a thread until so many events have come."""
    found: list[RunEvent] = []

    def follow() -> None:
        with server.client() as client, suppress(Unavailable):
            for event in client.events(**asked):
                found.append(event)
                if len(found) == count:
                    return

    thread = threading.Thread(target=follow, daemon=True)
    before = {*server.site.feed._subscriptions}
    thread.start()
    eventually(lambda: found or server.site.feed._subscriptions - before, what="the stream")
    return thread, found


def test_a_run_is_followed_to_its_end(server: ApiServer, app: Milepost) -> None:
    """How it stands first, then what changes, and the stream ends with the run."""
    app.start("counting", {"n": 1}, run_id="one")
    thread, found = following(server, count=99, run_id="one")
    eventually(lambda: found)
    app.run("one").pause()
    eventually(lambda: found[-1].run.status == "paused")
    app.run("one").resume()
    finish(app, "one")
    thread.join(10)
    assert not thread.is_alive()
    statuses = [event.run.status for event in found]
    assert statuses[:2] == ["queued", "paused"]
    assert statuses[-1] == "completed"
    assert len({event.id for event in found}) == len(found)
    eventually(lambda: not len(server.site.feed))


def test_all_runs_are_followed_from_now_on(server: ApiServer, app: Milepost) -> None:
    """What was there is no news; conditions hold; each run is seen to its end."""
    app.start("counting", {}, run_id="old")
    _, found = following(server, count=99, pipeline="counting")
    eventually(lambda: server.site.feed._primed)
    app.start("loose", {}, run_id="other")
    app.start("counting", {"n": 1}, run_id="new")
    eventually(lambda: "new" in {event.run.run_id for event in found})
    finish(app, "new")
    eventually(lambda: found[-1].run.status == "completed")
    assert {event.run.run_id for event in found} == {"new"}
    app.run("old").pause()
    eventually(lambda: found[-1].run.run_id == "old")


def test_what_was_missed_is_sent_again(server: ApiServer, app: Milepost) -> None:
    """By the id of the last event; where that is not remembered, it is said."""
    thread, found = following(server, count=1, tag="x")
    eventually(lambda: server.site.feed._primed)
    app.start("loose", {}, run_id="first", tags=["x"])
    thread.join(10)
    # Somebody else keeps the feed looking.
    following(server, count=99, tag="none")
    app.start("loose", {}, run_id="second", tags=["x"])
    eventually(lambda: server.site.feed._events[-1].head.run_id == "second")
    again, more = following(server, count=1, tag="x", after=found[0].id)
    again.join(10)
    assert [event.run.run_id for event in more] == ["second"]
    with server.http() as http:
        headers = {"Last-Event-ID": "ffffffff-1"}
        with http.stream("GET", "/v1/events", headers=headers) as stream:
            lines = stream.iter_lines()
            assert next(line for line in lines if line.startswith("event")) == "event: missed"


def test_a_silent_stream_says_that_it_is_alive_until_its_key_is_revoked(
    server: ApiServer, app: Milepost
) -> None:
    """A heartbeat, and the end of a stream whose key is good no more."""
    app.start("loose", {}, run_id="one")
    text, key = server.made(Scope.READ)
    with server.http(text) as http, http.stream("GET", "/v1/runs/one/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(line for line in lines if line == ": alive")
        server.keys.revoke(key.id)
        assert [line for line in lines if line.startswith("event")] == []


def test_a_client_that_does_not_read_is_dropped(app: Milepost) -> None:
    """It costs a bounded number of events, and others hear all."""
    options = {"api_poll_seconds": 0.02, "api_stream_backlog": 4, "api_stall_seconds": 0.5}
    for n in range(100):
        app.start(
            "loose",
            {"n": n},
            run_id=f"r-{n}",
            tags=[f"{i:0100}" for i in range(50)],
        )
    with ApiServer(app, **options) as server:
        thread, found = following(server, count=9999, run_id="r-0")
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", server.port))
        key = server.key(Scope.READ)
        slow.sendall(
            f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        )
        eventually(lambda: len(server.site.feed) == 2)
        eventually(lambda: server.site.feed._primed)

        def push() -> bool:
            for n in range(1, 100):
                app.run(f"r-{n}").pause()
                app.run(f"r-{n}").resume()
            return server.site.feed.dropped > 0

        eventually(push, 60, "the drop")
        eventually(lambda: len(server.site.feed) == 1)
        app.run("r-0").cancel()
        thread.join(10)
        assert found[-1].run.status == "cancelled"
        slow.close()
        with server.http() as http:
            assert "milepost_api_streams_dropped_total 1.0" in http.get("/metrics").text


def test_a_burst_makes_nobody_slow(app: Milepost) -> None:
    """Who reads hears of every run, also where far more change at once than may wait."""
    with ApiServer(app, api_poll_seconds=0.05, api_stream_backlog=4) as server:
        thread, found = following(server, count=150, tag="x")
        eventually(lambda: server.site.feed._primed)
        app.pipelines["loose"].start_many([{"n": n} for n in range(150)], tags=["x"])
        thread.join(20)
        assert len({event.run.run_id for event in found}) == 150
        again, more = following(server, count=149, tag="x", after=found[0].id)
        again.join(20)
        assert [event.id for event in more] == [event.id for event in found[1:]]
        assert server.site.feed.dropped == 0


def test_too_many_streams(app: Milepost) -> None:
    """The next one is told to come later."""
    app.start("loose", {}, run_id="one")
    with ApiServer(app, api_streams=1) as server:
        following(server, count=99, run_id="one")
        with server.http() as http:
            refused = http.get("/v1/events")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert refused.json()["type"].endswith("#busy")


def test_a_key_has_so_many_streams_and_waits_at_once(app: Milepost) -> None:
    """Of whatever kind; others are served meanwhile, and so is it when one of them ends."""
    app.start("loose", {}, run_id="one")
    with ApiServer(app, api_streams_per_key=2) as server:
        key, site = server.key(Scope.READ), server.site
        header = {"Authorization": f"Bearer {key}"}
        socket = f"{server.url.replace('http', 'ws')}/v1/ws"
        with server.http(key) as http, server.http() as other:
            with connect(socket, additional_headers=header), http.stream("GET", "/v1/events"):
                eventually(lambda: len(site.feed) == 2, what="both followers")
                for path in ("/v1/events", "/v1/runs/one/events", "/v1/runs/one/wait?timeout=1"):
                    refused = http.get(path)
                    assert refused.status_code == 429, path
                    assert refused.headers["content-type"] == "application/problem+json"
                    assert refused.headers["retry-after"] == "2"
                    assert refused.json()["type"].endswith("#too-many-requests")
                    assert (
                        "as many event streams and waits as it may at once: 2"
                        in refused.json()["detail"]
                    )
                assert http.get("/v1/runs/one/wait?timeout=0").status_code == 200
                third = connect(socket, additional_headers=header)
                with third, pytest.raises(ConnectionClosed) as closed:
                    third.recv(timeout=5)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1013
                assert other.get("/v1/runs/one/wait?timeout=0.1").status_code == 200
            eventually(lambda: len(site.feed) == 0, what="their end")
            assert http.get("/v1/runs/one/wait?timeout=0.1").status_code == 200


def test_a_stream_that_is_left_gives_its_place_back(app: Milepost) -> None:
    app.start("loose", {}, run_id="one")
    with ApiServer(app, api_streams_per_key=1) as server, server.http() as http:
        for _ in range(3):
            eventually(lambda: _opens(http, "/v1/runs/one/events"), what="a place")
            eventually(lambda: _opens(http, "/v1/events"), what="a place")


def _opens(http: httpx.Client, path: str) -> bool:
    with http.stream("GET", path) as answer:
        return answer.status_code == 200


def test_the_same_over_a_websocket(server: ApiServer, app: Milepost) -> None:
    """With the key in the header or in a first message."""
    app.start("counting", {}, run_id="one")
    url, key = server.url.replace("http", "ws"), server.key(Scope.READ)
    header = {"Authorization": f"Bearer {key}"}
    with (
        connect(f"{url}/v1/runs/one/ws", additional_headers=header) as first,
        connect(f"{url}/v1/runs/one/ws") as second,
    ):
        second.send(json.dumps({"key": key}))
        for each in (first, second):
            seen = json.loads(each.recv(5))
            assert (seen["event"], seen["data"]["status"]) == ("run", "queued")
        finish(app, "one")
        for each in (first, second):
            told = [json.loads(text) for text in each]
            assert told[-1] == {"event": "end"}
            assert told[-2]["data"]["status"] == "completed"
    with connect(f"{url}/v1/ws?pipeline=loose", additional_headers=header) as all_:
        eventually(lambda: server.site.feed._primed)
        app.start("loose", {}, run_id="two")
        assert json.loads(all_.recv(5))["data"]["run_id"] == "two"


@pytest.mark.parametrize(
    ("path", "said", "code"),
    [
        ("/v1/runs/one/ws", '{"key": "mp_no_no"}', 1008),
        ("/v1/runs/one/ws", "[" * 4000, 1008),
        ("/v1/runs/one/ws", "x" * 5000, 1009),
        ("/v1/runs/nobody/ws", None, 4404),
        ("/v1/runs/../ws", None, 4404),
        ("/v1/ws?unknown=1", None, 1008),
    ],
)
def test_a_websocket_that_may_not(
    server: ApiServer, app: Milepost, path: str, said: str | None, code: int
) -> None:
    """It is closed with a code that says why."""
    app.start("loose", {}, run_id="one")
    said = said or json.dumps({"key": server.key(Scope.READ)})
    url = server.url.replace("http", "ws") + path
    with connect(url) as opened:
        opened.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            opened.recv(5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code


def test_a_websocket_of_another_sites_page(server: ApiServer) -> None:
    """Browsers say which page opened it; a foreign one is turned away before it is accepted."""
    url, key = server.url.replace("http", "ws"), server.key(Scope.READ)
    header = {"Authorization": f"Bearer {key}"}
    with connect(f"{url}/v1/ws", additional_headers=header, origin=Origin(server.url)):
        pass
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{url}/v1/ws", additional_headers=header, origin=Origin("https://evil.example"))
    assert refused.value.response.status_code == 403
