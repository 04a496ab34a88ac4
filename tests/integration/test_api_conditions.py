"""``If-Match``: a command is done only to the run as it was seen, whatever happens while it is on its way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from integration.api_site import Count, counting_app, finish
from milepost.control.api.keys import Scope
from milepost.tasks import Head, Milepost, MovedOn
from support.api_server import ApiServer
from support.redis_server import RedisServer

COMMANDS: list[tuple[str, dict[str, Any] | None]] = [
    ("retry", None),
    ("cancel", None),
    ("skip", None),
    ("rewind", {"stage": "up"}),
    ("edit", {"state": {"n": 7}}),
    ("top-up", {"amounts": {"usd": 1}}),
    ("", None),
]


@pytest.fixture(params=["one Redis", "SQLite"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Milepost]:
    with RedisServer() as server:
        runs = f"sqlite:///{tmp_path / 'runs.db'}" if request.param == "SQLite" else None
        app = counting_app(server.url, runs=runs)
        yield app
        app.close()


@pytest.fixture
def http(app: Milepost) -> Iterator[httpx.Client]:
    with ApiServer(app) as server, server.http(server.key(Scope.OPERATE)) as http:
        yield http


def failed(app: Milepost) -> Head:
    app.start("counting", Count(broken=True), run_id="r", budget={"usd": 5})
    finish(app, "r")
    return app.lifecycle.head("r")


def again(app: Milepost) -> None:
    """Let the run fail once more."""
    app.lifecycle.retry("r")
    finish(app, "r")


def ask(http: httpx.Client, command: str, body: dict[str, Any] | None, tag: str) -> httpx.Response:
    method, path = ("POST", f"/v1/runs/r/{command}") if command else ("DELETE", "/v1/runs/r")
    return http.request(method, path, json=body, headers={"If-Match": tag})


def tag_of(http: httpx.Client) -> str:
    return http.get("/v1/runs/r").headers["etag"]


def meanwhile(app: Milepost, monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    """Do something behind a command's back, once: it has looked at the run, and not yet changed it."""
    note, pending = app.runs.note, [do]

    def noted(*notes: Any) -> None:
        note(*notes)
        if pending:
            pending.pop()()

    monkeypatch.setattr(app.runs, "note", noted)


@pytest.mark.parametrize(("command", "body"), COMMANDS)
def test_a_run_that_moves_under_the_command_is_left_alone(
    app: Milepost,
    http: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    body: dict[str, Any] | None,
) -> None:
    failed(app)
    tag = tag_of(http)
    stood: list[Head | None] = []

    def move() -> None:
        again(app)
        stood.append(app.runs.get("r"))

    meanwhile(app, monkeypatch, move)
    refused = ask(http, command, body, tag)

    assert refused.status_code == 412, refused.text
    assert refused.json()["type"].endswith("#moved-on")
    assert refused.json()["run_status"] == "failed"
    assert [app.runs.get("r")] == stood
    assert [*app.checkpoints.list_checkpoints("r")] != []
    assert ask(http, command, body, tag_of(http)).is_success


@pytest.mark.parametrize("command", ["pause", "cancel"])
def test_a_stage_that_begins_meanwhile_is_not_what_was_seen(
    app: Milepost, http: httpx.Client, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    app.start("counting", Count(), run_id="r")
    tag = tag_of(http)
    meanwhile(app, monkeypatch, lambda: finish(app, "r"))

    refused = ask(http, command, None, tag)

    assert refused.status_code == 412
    assert app.lifecycle.head("r").status == "completed"


def test_a_resume_of_what_was_resumed_and_paused_again(app: Milepost, http: httpx.Client) -> None:
    app.start("counting", Count(), run_id="r")
    app.lifecycle.pause("r")
    tag = tag_of(http)
    app.lifecycle.rewind("r", "up")
    assert app.lifecycle.head("r").status == "paused"

    assert ask(http, "resume", None, tag).status_code == 412
    assert ask(http, "resume", None, tag_of(http)).json()["status"] == "queued"


def test_a_fork_is_of_what_was_seen(app: Milepost, http: httpx.Client) -> None:
    failed(app)
    tag = tag_of(http)
    assert ask(http, "fork", {"run_id": "f"}, tag).status_code == 201
    again(app)
    assert ask(http, "fork", {"run_id": "g"}, tag).status_code == 412
    assert app.runs.get("g") is None


def test_another_run_of_the_same_id_is_not_what_was_seen(app: Milepost, http: httpx.Client) -> None:
    failed(app)
    tag = tag_of(http)
    app.lifecycle.delete("r")
    failed(app)

    assert ask(http, "retry", None, tag).status_code == 412


def test_any_run_matches_a_star(app: Milepost, http: httpx.Client) -> None:
    failed(app)
    assert ask(http, "retry", None, "*").is_success


def test_the_library_says_it_as_well(app: Milepost) -> None:
    seen = failed(app)
    again(app)
    commands = app.lifecycle.only_if(seen)
    for do in (commands.retry, commands.cancel, commands.skip, commands.delete, commands.head):
        with pytest.raises(MovedOn, match="Run r is failed and no longer where it was seen"):
            do("r")
    assert app.lifecycle.on_behalf_of("ann").head("r").status == "failed"
