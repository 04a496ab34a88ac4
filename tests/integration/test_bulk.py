"""Commands on many runs, starts by the thousand, and the notes of who did what."""

from __future__ import annotations

import pytest

from integration.command_line import Line, State
from milepost.checkpointing import Misconfigured
from milepost.tasks import (
    Bulk,
    Command,
    Conflict,
    RunQuery,
    RunStatus,
    StateInvalid,
    UnknownRun,
)


@pytest.fixture
def bulk(line: Line) -> Bulk:
    return line.app.bulk


def test_a_bulk_command_meets_what_a_query_finds(line: Line, bulk: Bulk) -> None:
    """Those whose status allows it; the rest is counted as refused or not at all."""
    failed = [line.steps(line.start(broken=True), 3) for _ in range(3)]
    other = line.start()
    (group,) = line.app.runs.groups()
    query = RunQuery(group=group.group)

    seen = bulk.apply(Command.RETRY, query, dry_run=True)
    assert (seen.found, seen.done, seen.dry_run) == (3, 3, True)
    assert all(run.status is RunStatus.FAILED for run in failed)
    canary = bulk.apply(Command.RETRY, query, limit=1)
    assert canary.run_ids == [failed[-1].id]
    rest = bulk.apply(Command.RETRY, query, rate_per_second=1000)
    assert (rest.found, rest.done) == (2, 2)
    assert all(run.status is RunStatus.QUEUED for run in failed)
    none = bulk.apply(Command.RETRY, query)
    assert (none.found, none.done, none.run_ids) == (0, 0, [])
    with pytest.raises(Misconfigured, match="would meet every run"):
        bulk.apply(Command.CANCEL, RunQuery())
    all_of_them = bulk.apply(Command.CANCEL, RunQuery(), every_run=True)
    assert (all_of_them.done, other.status) == (4, RunStatus.CANCELLED)


def test_one_refusal_keeps_no_other_run_from_a_bulk_command(line: Line, bulk: Bulk) -> None:
    """It is counted by its kind, with an example."""
    runs = [line.steps(line.start(), count) for count in (1, 3)]
    summary = bulk.apply(Command.REWIND, RunQuery(pipeline="line"), arguments={"stage": "c"})
    assert (summary.found, summary.done, dict(summary.refused)) == (2, 1, {"Conflict": 1})
    assert "has no checkpoint from before stage c" in summary.examples[0]
    assert runs[1].head.stage == "c"


def test_what_has_moved_on_since_it_was_found_is_left_alone(
    line: Line, bulk: Bulk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list may be long, and its end be met much later."""
    run = line.steps(line.start(broken=True), 3)
    listed = run.head
    run.edit(patch={"broken": False})
    run.retry()
    monkeypatch.setattr(bulk, "_found", lambda command, query: [listed])

    summary = bulk.apply(Command.CANCEL, RunQuery.of(RunStatus.FAILED))

    assert (summary.done, dict(summary.refused)) == (0, {"Conflict": 1})
    assert run.status is RunStatus.QUEUED


def test_many_runs_are_started_at_once(line: Line) -> None:
    """Each as if it had been started alone; what cannot be used keeps all from starting."""
    ids = [f"many-{number}" for number in range(7)]
    states = [State(n=number) for number in range(7)]
    for _ in range(2):
        runs = line.pipeline.start_many(states, run_ids=ids, tags=["batch"], tenant="acme")
        assert [run.id for run in runs] == ids
    assert len(line.app.runs.find(RunQuery(tenant="acme", tag="batch")).items) == 7
    assert [line.finish(run).n for run in runs] == [4, 5, 6, 7, 8, 9, 10]
    with pytest.raises(StateInvalid):
        line.pipeline.start_many([{"n": 1}, {"n": "x"}])
    with pytest.raises(Conflict, match="another input"):
        line.pipeline.start_many(
            [State(n=99), State(n=100)], run_ids=["many-1", "new"], tenant="acme"
        )
    assert line.app.run("new").status is RunStatus.QUEUED
    with pytest.raises(Misconfigured, match="need as many run ids"):
        line.pipeline.start_many([State(), State()], run_ids=["one", "one"])
    assert line.pipeline.start_many([]) == []


def test_who_did_what_is_noted(line: Line) -> None:
    """With the name under which it was done, and refusals too."""
    run = line.steps(line.start(), 2)
    life = line.app.lifecycle
    life.on_behalf_of("bob").pause(run.id)
    life.rewind(run.id, "a")
    with pytest.raises(Conflict):
        life.on_behalf_of("eve").retry(run.id)
    with pytest.raises(UnknownRun):
        life.retry("nobody")
    noted = [(note.by, note.command, note.detail.split(":")[0]) for note in run.notes]
    assert noted == [
        ("eve", "retry", "refused"),
        ("eve", "retry", ""),
        ("ann", "rewind", "to a"),
        ("bob", "pause", ""),
    ]
    assert [note.command for note in life.notes(limit=1)] == ["retry"]
    life.edit(run.id, patch={"n": 1, **dict.fromkeys(map(str, range(1_000)), 0)})
    assert len(life.notes(limit=1)[0].detail) == 1_000
