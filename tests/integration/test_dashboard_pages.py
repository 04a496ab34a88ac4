"""What the dashboard's pages show."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from integration.dashboard import Dashboard, dashboard_on
from milepost.checkpointing import Unavailable
from milepost.checkpointing.stores.redis import LogKeys
from milepost.control.api.keys import Scope
from milepost.tasks import Milepost, RunStatus
from support.dashboard_scene import work
from support.dashboard_visitor import Visitor

HOSTILE = '"><img src=x onerror=alert(1)></script></textarea>{{7*7}}\u202egnp.exe\x00\x1b[31m'


def ids(page: str) -> list[str]:
    """Return the runs that a list shows."""
    return re.findall(r'<th scope="row" class="id"><a href="/runs/([^"]+)"', page)


def start(
    app: Milepost, run_id: str, customer: str = "acme", steps: int = 0, **options: Any
) -> None:
    """Start an invoice and take so many steps."""
    app.start("invoices", {"customer": customer}, run_id=run_id, **options)
    work(app, run_id, steps)


@pytest.fixture
def visitor(board: Dashboard) -> Visitor:
    return board.visitor()


def test_runs_are_found_by_every_condition(board: Dashboard, visitor: Visitor) -> None:
    start(board.app, "new", tags=["eu"], tenant="red")
    start(board.app, "odd", "odd", 20)
    start(board.app, "done", steps=20)
    board.app.start("texts", {"text": "x"}, run_id="text")
    group = board.app.runs.groups()[0].group

    for query, found in {
        "": ["text", "done", "odd", "new"],
        "status=failed": ["odd"],
        "status=queued&pipeline=invoices": ["new"],
        "pipeline=texts": ["text"],
        "stage=charge": ["odd"],
        "tag=eu": ["new"],
        "tenant=red": ["new"],
        f"group={group}": ["odd"],
        "since=1h": ["text", "done", "odd", "new"],
        "until=1h": [],
        f"since={datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M}": [],
        "until=2999-01-01": ["text", "done", "odd", "new"],
    }.items():
        assert ids(visitor.text(f"/runs?{query}")) == found, query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("pipeline=a/b", "pipeline"),
        ("tag=%00", "tag"),
        ("since=yesterday", "since"),
        ("until=-5m", "until"),
        ("since=99999999999999999999d", ""),
        ("status=odd", "status"),
        ("since=0001-01-01", ""),
        ("cursor=forged", ""),
        ("cursor=1.x%00", ""),
        ("run=%2e%2e%2fetc", ""),
        ("run=" + "x" * 5000, ""),
    ],
)
def test_what_cannot_be_read_of_a_filter_is_said(visitor: Visitor, query: str, field: str) -> None:
    page = visitor.text(f"/runs?{query}")

    assert ('class="error"' in page) is bool(field)


def test_pages_are_turned(board: Dashboard, visitor: Visitor) -> None:
    names = [f"r{n:03}" for n in range(120)]
    board.app.pipelines["invoices"].start_many([{"customer": "x"}] * 120, run_ids=names)

    seen, path = [], "/runs"
    while path:
        page = visitor.text(path)
        seen.append(ids(page))
        older = re.search(r'href="(/runs\?[^"]*)" rel="next"', page)
        path = older[1] if older else ""

    assert [len(page) for page in seen] == [50, 50, 20]
    assert sorted(name for page in seen for name in page) == names


def test_tabs_count(board: Dashboard, visitor: Visitor) -> None:
    start(board.app, "a")
    start(board.app, "b", "odd", 20)
    board.app.start("texts", {"text": "x"}, run_id="c")

    def counts(page: str) -> dict[str, str]:
        return dict(re.findall(r'id="count-(\w+)"[^>]*>([\d,]+)<', page))

    shown = counts(visitor.text("/runs"))
    assert (shown["all"], shown["queued"], shown["failed"]) == ("3", "2", "1")
    assert counts(visitor.text("/runs?pipeline=texts"))["queued"] == "1"
    # Of other conditions no store keeps counts.
    assert counts(visitor.text("/runs?tag=eu")) == {}


def test_an_id_leads_to_its_run(board: Dashboard, visitor: Visitor) -> None:
    start(board.app, "here")

    assert visitor.get("/runs?run=%20here%20").headers["location"] == "/runs/here"
    assert "There is no run nowhere." in visitor.text("/runs?run=nowhere")


@pytest.mark.parametrize("name", ["nowhere", "%2e%2e", "%00", "a%20b", "x" * 200, "%E2%80%AEabc"])
def test_what_is_not_there_is_not_found(visitor: Visitor, name: str) -> None:
    for path in (
        f"/runs/{name}",
        f"/runs/{name}/do/cancel",
        f"/runs/{name}/checkpoints/x",
        f"/failures/{name}",
        f"/bulk/{name}",
        f"/bulk?command={name}",
    ):
        assert visitor.get(path).status_code == 404, path


def test_a_run_shows_its_stages(board: Dashboard, visitor: Visitor) -> None:
    start(board.app, "r", steps=2)

    page = visitor.text("/runs/r")

    rows = re.findall(r'<tr class="(input|stage|due|ahead)', page)
    assert rows == ["input", "stage", "stage", "due"]
    assert "usd" in page
    assert "queued" in page


def test_waiting_and_crashes_are_told(board: Dashboard, visitor: Visitor) -> None:
    start(board.app, "r", "odd", 1)
    head = board.app.runs.get("r")
    assert head is not None
    runtime = board.app.runtime
    bid = runtime.owner.bid()
    board.app.runs.claim(head.step, bid)
    board.app.runs.bury(runtime.owner.id, "child")

    page = visitor.text("/runs/r")
    failures = visitor.text("/failures")

    assert "1 crashed" in page
    assert "lost workers at this stage" in visitor.text("/runs")
    assert re.search(r'id="struggling".*?href="/runs/r"', failures, re.S)


def test_a_checkpoint_shows_what_changed(board: Dashboard, visitor: Visitor) -> None:
    start(board.app, "r", steps=20)
    checkpoint = board.app.checkpoints.list_checkpoints("r")[1]

    page = visitor.text(f"/runs/r/checkpoints/{checkpoint.checkpoint_id}")

    assert re.search(r"changed</span>paid</th><td><del><pre>false</pre></del>", page)
    assert re.search(r"<ins><pre>true</pre></ins>", page)
    assert '"total": 184.5' in page
    assert "0.011 usd" in page


def test_a_checkpoint_is_loaded_down_whole(board: Dashboard, visitor: Visitor) -> None:
    board.app.start("texts", {"text": "ä" * 400_000}, run_id="r")
    path = f"/runs/r/checkpoints/{board.app.checkpoints.list_checkpoints('r')[0].checkpoint_id}"

    page, file = visitor.get(path), visitor.get(f"{path}/file")

    assert len(page.content) < 300_000
    assert "These are the first 200 KB of 800 KB" in page.text
    assert file.headers["content-disposition"] == 'attachment; filename="r-0.0.json"'
    assert json.loads(file.content)["state"]["text"] == "ä" * 400_000


def test_a_huge_state_is_never_on_a_page(board: Dashboard, visitor: Visitor) -> None:
    """Nor on the one that edits it, nor in the comparison with the one before."""
    board.app.start("texts", {"text": "boom"}, run_id="r")
    work(board.app, "r")
    board.app.lifecycle.edit("r", {"text": "y" * 20_000_000})
    checkpoint = board.app.checkpoints.list_checkpoints("r")[0]

    page = visitor.get(f"/runs/r/checkpoints/{checkpoint.checkpoint_id}")
    form = visitor.get("/runs/r/do/edit")

    assert "too much for a page" in page.text
    assert "too large to be compared" in page.text
    assert "change it by a patch" in form.text
    assert max(len(page.content), len(form.content)) < 50_000


def test_long_texts_are_cut(board: Dashboard, visitor: Visitor) -> None:
    board.app.start("texts", {"text": "long " * 200_000}, run_id="r", tags=["t" * 128])
    work(board.app, "r")

    for path in ("/runs", "/runs/r", "/failures", "/storage"):
        assert len(visitor.get(path).content) < 60_000, path


def test_a_damaged_checkpoint_leaves_the_page_standing(board: Dashboard, visitor: Visitor) -> None:
    start(board.app, "r", steps=2)
    head, keys = board.app.runs.get("r"), LogKeys.of("r")
    assert head is not None
    checkpoint = board.app.checkpoints.list_checkpoints("r")[0].checkpoint_id
    with redis.Redis.from_url(board.app.runs.location) as client:
        client.hset(keys.bodies, head.at, b"junk")
        assert 'class="flash bad"' in visitor.text(f"/runs/r/checkpoints/{checkpoint}")
        assert visitor.get(f"/runs/r/checkpoints/{checkpoint}/file").status_code == 400
        client.hset(keys.headers, head.at, b"junk")

    page = visitor.text("/runs/r")

    assert "The checkpoints cannot be read" in page


@pytest.mark.fault("S11")
def test_nothing_hostile_gets_through(board: Dashboard, visitor: Visitor) -> None:
    """Into errors, states, notes and messages put aside."""
    board.app.start("texts", {"text": HOSTILE}, run_id="r")
    work(board.app, "r")
    board.app.runs.put_aside(HOSTILE, HOSTILE)
    board.app.lifecycle.on_behalf_of(HOSTILE).rewind("r", "first")
    assert board.app.runs.get("r").status is RunStatus.QUEUED  # type: ignore[union-attr]
    work(board.app, "r")
    checkpoint = board.app.checkpoints.list_checkpoints("r")[0].checkpoint_id
    group = board.app.runs.groups()[0].group

    for path in (
        "/runs",
        "/runs/r",
        f"/runs/r/checkpoints/{checkpoint}",
        "/runs/r/do/edit",
        "/failures",
        f"/failures/{group}",
    ):
        answer = visitor.get(path)
        assert answer.status_code == 200
        assert "<img" not in answer.text, path
        assert "\u202e" not in answer.text, path
        assert "\x1b" not in answer.text, path
    for path in ("/runs/r", "/storage"):
        text = board.visitor(Scope.ADMIN).text(path)
        assert "\\u202egnp.exe" in text, path
        assert "{{7*7}}" in text


def test_the_audit_trail_is_narrowed_to_one(board: Dashboard, visitor: Visitor) -> None:
    start(board.app, "r")
    board.app.lifecycle.on_behalf_of("ann").pause("r")
    board.app.lifecycle.on_behalf_of("bob").resume("r")

    assert "<td>bob</td>" not in visitor.text("/storage?by=ann")
    assert "<td>ann</td>" in visitor.text("/storage?by=ann")


def test_a_store_that_does_not_answer_is_said(
    board: Dashboard, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any, **__: Any) -> None:
        raise Unavailable("The store at redis://somewhere does not answer.")

    monkeypatch.setattr(board.app.runs, "find", down)

    answer = visitor.get("/runs")

    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert "content-security-policy" in answer.headers


def test_other_stores_look_the_same(redis_url: str, tmp_path: Path) -> None:
    """Runs in SQLite, checkpoints in files."""
    stores = {"runs": f"sqlite:///{tmp_path}/runs.db", "checkpoints": f"file://{tmp_path}/log"}
    with dashboard_on(redis_url, **stores) as board:
        visitor = board.visitor(Scope.ADMIN)
        start(board.app, "done", steps=20)
        start(board.app, "odd", "odd", 20)
        board.app.lifecycle.rewind("done", "charge")
        checkpoint = board.app.checkpoints.list_checkpoints("done")[1].checkpoint_id
        group = board.app.runs.groups()[0].group

        for path in (
            "/runs?status=failed",
            "/runs/done",
            "/runs/odd",
            f"/runs/done/checkpoints/{checkpoint}",
            "/runs/odd/do/edit",
            "/bulk?command=retry&status=failed",
            "/failures",
            f"/failures/{group}",
            "/storage",
        ):
            visitor.text(path)
        assert "left behind" in visitor.text("/runs/done")
        assert "sqlite:///" in visitor.text("/storage")
        assert visitor.post("/runs/odd/do/retry").status_code == 303
