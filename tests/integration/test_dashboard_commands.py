"""What the dashboard does to runs, and what it says when it cannot."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from integration.dashboard import Dashboard
from milepost.tasks import Command, Head, RunStatus
from milepost.tasks.transitions import ALLOWED
from support.dashboard_scene import work
from support.waiting import eventually


def started(board: Dashboard, run_id: str, customer: str = "acme", steps: int = 0) -> Head:
    """Start an invoice and take so many steps."""
    board.app.start("invoices", {"customer": customer}, run_id=run_id)
    work(board.app, run_id, steps)
    return head(board, run_id)


def head(board: Dashboard, run_id: str) -> Head:
    """Return the head of a run that is there."""
    found = board.app.runs.get(run_id)
    assert found is not None
    return found


def edit(board: Dashboard, run_id: str, state: Any, **more: str) -> Any:
    """Send the form that edits a state."""
    form = {"state": state, "base": head(board, run_id).checkpoint_id, "how": "whole", **more}
    return board.visitor().post(f"/runs/{run_id}/do/edit", **form)


def offered(page: str) -> set[Command]:
    """Return the commands that a run's page offers."""
    return {Command(name) for name in re.findall(r"/runs/[^/]+/do/([a-z-]+)", page)}


def test_what_is_offered_is_what_the_table_allows(board: Dashboard) -> None:
    visitor = board.visitor()
    started(board, "queued")
    started(board, "failed", "odd", 20)
    started(board, "completed", steps=20)
    started(board, "paused")
    board.app.lifecycle.pause("paused")
    started(board, "cancelled")
    board.app.lifecycle.cancel("cancelled")

    for name in ("queued", "failed", "completed", "paused", "cancelled"):
        status = RunStatus(name)
        allowed = {command for command in Command if status in ALLOWED[command]}
        shown = offered(visitor.text(f"/runs/{name}"))
        # What would change nothing is not offered: pausing what is paused, topping up without a budget.
        assert shown <= allowed, name
        assert allowed - shown <= {Command.PAUSE, Command.CANCEL, Command.TOP_UP}, name
        for command in {*Command} - shown:
            assert visitor.post(f"/runs/{name}/do/{command}").status_code == 409


def test_a_failed_run_is_retried(board: Dashboard) -> None:
    started(board, "r", "odd", 20)
    visitor = board.visitor(name="ann")

    answer = visitor.post("/runs/r/do/retry")

    assert answer.headers["location"] == "/runs/r?done=retry"
    assert head(board, "r").status is RunStatus.QUEUED
    assert [(note.by, note.command) for note in board.app.runs.notes("r")] == [("ann", "retry")]
    page = visitor.text("/runs/r?done=retry")
    assert "Retried: it moves again." in page
    assert '<span class="by">ann</span> <span class="command">retry</span>' in page


def test_pause_and_resume(board: Dashboard) -> None:
    started(board, "r")
    visitor = board.visitor()

    visitor.post("/runs/r/do/pause")
    assert head(board, "r").status is RunStatus.PAUSED
    visitor.post("/runs/r/do/resume")

    assert head(board, "r").status is RunStatus.QUEUED


def test_a_completed_run_is_rewound_and_what_came_after_is_shown_as_left_behind(
    board: Dashboard,
) -> None:
    started(board, "r", steps=20)
    visitor = board.visitor(name="ann")
    form = visitor.text("/runs/r/do/rewind")
    assert re.findall(r"<option[^>]*>(\w+)", form) == ["send", "charge", "collect"]

    visitor.post("/runs/r/do/rewind", stage="charge")

    assert head(board, "r").stage == "charge"
    page = visitor.text("/runs/r")
    assert page.count("left behind") == 2
    assert "rewound to charge by ann" in page
    work(board.app, "r")
    assert head(board, "r").status is RunStatus.COMPLETED


def test_a_stage_is_skipped(board: Dashboard) -> None:
    started(board, "r", "odd", 20)

    board.visitor().post("/runs/r/do/skip")

    assert (head(board, "r").status, head(board, "r").stage) == (RunStatus.QUEUED, "send")


def test_a_state_is_edited(board: Dashboard) -> None:
    started(board, "r", "odd", 20)

    answer = edit(board, "r", json.dumps({"customer": "even", "lines": [], "total": 1}))

    assert answer.headers["location"] == "/runs/r?done=edit"
    board.visitor().post("/runs/r/do/retry")
    work(board.app, "r")
    assert head(board, "r").status is RunStatus.COMPLETED


def test_a_state_is_edited_by_a_patch(board: Dashboard) -> None:
    started(board, "r", "odd", 20)

    edit(board, "r", '{"customer": "even"}', how="patch")

    state = board.app.checkpoints.get(head(board, "r").key).state
    assert (state["customer"], state["total"]) == ("even", 184.5)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ('{"customer": 7}', "state.customer: Input should be a valid string"),
        ('{"customer": "x",\n  "total": }', "no JSON: Expecting value in line 2, column 12"),
        ("", "no JSON"),
        ('{"customer": NaN}', "NaN is no number"),
        ("[" * 100_000, "nested too deep"),
        ('{"customer": "\\ud800"}', "half of a surrogate pair"),
        ("</textarea><script>alert(1)</script>", "no JSON"),
    ],
)
def test_a_bad_state_is_refused_beside_the_field_and_nothing_is_lost(
    board: Dashboard, typed: str, said: str
) -> None:
    before = started(board, "r", "odd", 20)

    answer = edit(board, "r", typed)

    assert answer.status_code == 422
    assert head(board, "r") == before
    assert "<script>alert" not in answer.text
    page = re.search(
        r"<textarea[^>]*aria-invalid[^>]*>\n(.*?)</textarea>(.*?)</p>", answer.text, re.S
    )
    assert page is not None
    assert len(page[1]) >= len(typed)
    assert said in page[2].replace("&#39;", "'")


def test_an_edit_of_what_has_moved_on_changes_nothing(board: Dashboard) -> None:
    started(board, "r", "odd", 20)
    old = head(board, "r").checkpoint_id
    edit(board, "r", '{"customer": "first"}')
    typed = '{"customer": "second"}'

    answer = edit(board, "r", typed, base=old)

    assert answer.status_code == 409
    assert "has moved on" in answer.text
    assert "second" in answer.text
    assert board.app.checkpoints.get(head(board, "r").key).state["customer"] == "first"


def test_a_run_is_forked(board: Dashboard) -> None:
    started(board, "r", steps=20)
    visitor = board.visitor()

    answer = visitor.post("/runs/r/do/fork", stage="send", run_id="s")

    assert answer.headers["location"] == "/runs/s?done=fork"
    assert head(board, "s").stage == "send"
    assert 'href="/runs/r"' in visitor.text("/runs/s")
    again = visitor.post("/runs/r/do/fork", stage="send", run_id="not a name")
    assert again.status_code == 422
    assert "is not a valid run id" in again.text


def test_a_budget_is_topped_up(board: Dashboard) -> None:
    board.app.start("invoices", {"customer": "x"}, run_id="r", budget={"usd": 0.001})
    work(board.app, "r")
    assert head(board, "r").is_parked
    visitor = board.visitor()

    assert visitor.post("/runs/r/do/top-up", **{"amount-usd": "lots"}).status_code == 422
    assert visitor.post("/runs/r/do/top-up", **{"amount-usd": "-1"}).status_code == 422
    visitor.post("/runs/r/do/top-up", **{"amount-usd": "5"})
    visitor.post("/runs/r/do/resume")
    work(board.app, "r")

    assert head(board, "r").status is RunStatus.COMPLETED


def test_cancel_and_delete(board: Dashboard) -> None:
    started(board, "r")
    visitor = board.visitor()

    visitor.post("/runs/r/do/cancel")
    assert head(board, "r").status is RunStatus.CANCELLED
    answer = visitor.post("/runs/r/do/delete")

    assert answer.headers["location"] == "/runs?done=delete"
    assert board.app.runs.get("r") is None
    assert visitor.get("/runs/r").status_code == 404


def test_a_run_of_a_pipeline_that_is_not_known_here(board: Dashboard) -> None:
    """It can be looked at and retried; what needs the code is not offered, and says why."""
    started(board, "r", "odd", 20)
    del board.app.versions["invoices"]
    visitor = board.visitor()

    page = visitor.text("/runs/r")

    assert "does not know pipeline" in page
    assert offered(page) == {Command.RETRY, Command.CANCEL, Command.DELETE}
    assert visitor.post("/runs/r/do/skip").status_code == 409


def test_a_run_is_started(board: Dashboard) -> None:
    visitor = board.visitor()
    assert '"customer": ""' in visitor.text("/start?pipeline=invoices")
    form = {"pipeline": "invoices", "state": '{"customer": "x"}', "tags": "nightly, eu"}

    answer = visitor.post("/start", run_id="r", priority="3", delay="1h", **form)

    assert answer.headers["location"] == "/runs/r?done=start"
    run = head(board, "r")
    assert (run.status, run.tags, run.run_priority) == (
        RunStatus.SCHEDULED,
        ("nightly", "eu"),
        "3",
    )
    fresh = visitor.post("/start", **form).headers["location"]
    assert re.fullmatch(r"/runs/[0-9a-f]{32}\?done=start", fresh)


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("state", '{"customer": []}'),
        ("state", "{"),
        ("run_id", "../etc"),
        ("run_id", "taken"),
        ("tags", "a/b"),
        ("tenant", "a b"),
        ("delay", "soon"),
        ("priority", "11"),
        ("priority", "high"),
    ],
)
def test_a_bad_start_is_refused_beside_the_field(board: Dashboard, field: str, typed: str) -> None:
    started(board, "taken", "other")
    form = {"pipeline": "invoices", "state": '{"customer": "x"}', "run_id": "r", field: typed}

    answer = board.visitor().post("/start", **form)

    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.text
    assert board.app.runs.get("r") is None


def test_the_group_is_retried_after_its_canary(board: Dashboard) -> None:
    for n in range(4):
        started(board, f"r{n}", "odd", 20)
    visitor = board.visitor()
    (group,) = re.findall(r'href="/failures/(\w+)"', visitor.text("/failures"))
    assert "Retry one as canary" in visitor.text(f"/failures/{group}")

    answer = visitor.post("/runs/r3/do/retry", back="failures")

    assert answer.headers["location"] == f"/failures/{group}?canary=r3"
    assert "Retry the others" in visitor.text(f"/failures/{group}?canary=r3")
    confirm = visitor.text(f"/bulk?command=retry&status=failed&group={group}")
    assert "Retry 3 runs" in confirm
    assert "Nothing has been done yet" in confirm
    form = visitor.form(f"/bulk?command=retry&status=failed&group={group}", to="/bulk")
    refused = visitor.post("/bulk", **form, typed="4")
    assert refused.status_code == 422
    assert head(board, "r0").status is RunStatus.FAILED
    job = visitor.post("/bulk", **form, typed="3").headers["location"]
    eventually(lambda: "Done." in visitor.text(job), 10, "the end of the bulk command")
    assert [head(board, f"r{n}").status for n in range(4)] == [RunStatus.QUEUED] * 4
    assert "All were retried" in visitor.text(f"/failures/{group}?canary=r3")


def test_the_fleet_is_commanded_in_the_visitors_name(board: Dashboard) -> None:
    from milepost.control.api.keys import Scope

    admin = board.visitor(Scope.ADMIN, name="root")

    admin.post("/fleet/pause", name="heavy")
    assert "Resume queue heavy" in admin.text("/fleet")
    admin.post("/fleet/resume", name="heavy")
    admin.post("/fleet/drain", name="alpha@w1")

    assert "draining" in admin.text("/fleet")
    assert board.fleet.told == [
        ("pause", "heavy", "root"),
        ("resume", "heavy", "root"),
        ("drain", "alpha@w1", "root"),
    ]
