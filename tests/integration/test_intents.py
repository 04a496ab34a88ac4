"""What a status forbids, and what a command that nobody finished leaves."""

from __future__ import annotations

from typing import Any

import pytest

from integration.command_line import STAGES, Line, State
from milepost.checkpointing import Record, Unavailable
from milepost.tasks import Conflict, Run, RunStatus
from milepost.tasks.runs import Claim
from milepost.tasks.testing.case import cancelling, new_bid
from milepost.tasks.testing.intending import redirecting

_FORBIDDEN = {
    RunStatus.QUEUED: ("retry", "resume", "delete"),
    RunStatus.RUNNING: ("retry", "resume", "edit", "delete"),
    RunStatus.SCHEDULED: ("resume", "delete"),
    RunStatus.PAUSED: ("retry",),
    RunStatus.REDIRECTING: ("retry", "pause", "resume", "cancel", "skip", "edit", "fork", "delete"),
    RunStatus.COMPLETED: ("retry", "pause", "resume", "cancel", "skip", "edit"),
    RunStatus.FAILED: ("pause", "resume"),
    RunStatus.CANCELLED: ("retry", "pause", "resume", "skip", "edit"),
}


@pytest.mark.parametrize("status", _FORBIDDEN)
def test_a_command_that_its_status_forbids_changes_nothing(line: Line, status: RunStatus) -> None:
    """Neither the run nor its checkpoints."""
    run = run_that_is(line, status)
    before, history = run.head, run.checkpoints()
    for command in _FORBIDDEN[status]:
        arguments = {"patch": {"n": 1}} if command == "edit" else {}
        with pytest.raises(Conflict, match=f"is {status}; only a run that is"):
            getattr(run, command)(**arguments)
        assert run.head == before, command
    assert run.checkpoints() == history


def run_that_is(line: Line, status: RunStatus) -> Run:
    """Make a run of that status, or of any, that has its first stage behind it."""
    if status is RunStatus.SCHEDULED:
        return line.pipeline.start(State(), delay="1h")
    run = line.steps(line.start(broken=status is RunStatus.FAILED), 1)
    runs = line.app.runs
    match status:
        case RunStatus.RUNNING:
            assert isinstance(runs.claim(run.head.step, new_bid()), Claim)
        case RunStatus.PAUSED:
            run.pause()
        case RunStatus.REDIRECTING:
            assert runs.intend(run.id, redirecting(run.head))[0]
        case RunStatus.COMPLETED:
            line.finish(run)
        case RunStatus.FAILED:
            line.steps(run, 2)
        case RunStatus.CANCELLED:
            run.cancel()
    assert run.status is status
    return run


def test_who_finds_a_cancelling_begun_ends_it(line: Line) -> None:
    """Whoever began it may be dead."""
    run = line.steps(line.start(), 2)
    assert line.app.runs.intend(run.id, cancelling("c1"))[0]
    run.cancel()
    run.cancel()
    assert run.status is RunStatus.CANCELLED
    assert (run.state.ran, run.head.checkpoint_id) == (["a", "b"], "c1")


def test_what_was_begun_and_not_finished_leaves_runs_as_they_were(line: Line) -> None:
    """Those that had ended, too, and those that wait for their time."""
    statuses = (
        RunStatus.COMPLETED,
        RunStatus.CANCELLED,
        RunStatus.FAILED,
        RunStatus.SCHEDULED,
        RunStatus.PAUSED,
    )
    runs = {status: run_that_is(line, status) for status in statuses}
    before = {status: (run.head, run.state) for status, run in runs.items()}
    for number, run in enumerate(runs.values()):
        assert line.app.runs.intend(run.id, redirecting(run.head, checkpoint_id=f"r{number}"))[0]
    for run in runs.values():
        line.pass_leases(run)
    for status, run in runs.items():
        head, state = before[status]
        assert run.status is status
        assert (run.head.stage, run.head.stages_done) == (head.stage, head.stages_done)
        assert (run.head.error, run.state) == (head.error, state)
    runs[RunStatus.FAILED].edit(patch={"broken": False})
    for status in (RunStatus.FAILED, RunStatus.SCHEDULED):
        runs[status].retry()
        assert line.finish(runs[status]).ran == STAGES


def test_a_run_that_moves_on_while_a_command_is_prepared_is_left_alone(line: Line) -> None:
    """What the command was meant for is not what it would meet."""
    run = line.steps(line.start(), 2)
    intents = line.app.runtime.intents
    encoded = intents._encoded

    def too_late(*args: Any) -> Any:
        intents._encoded = encoded  # type: ignore[method-assign]
        line.step(run)
        return encoded(*args)

    intents._encoded = too_late  # type: ignore[method-assign,assignment]
    with pytest.raises(Conflict, match="It has moved on meanwhile"):
        run.rewind("a")
    assert (run.status, run.head.stage) == (RunStatus.QUEUED, "d")
    assert line.finish(run).ran == STAGES


def test_what_a_reconciler_wrote_first_stands(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if it died before the head said so; a command that comes late goes on from that."""
    if line.app.runtime.log_in_runs:
        pytest.skip("checkpoint and head are written in one step")
    run = line.steps(line.start(), 2)
    runs, store = line.app.runs, line.app.checkpoints.store
    put, settle = store.put, type(runs).settle

    def dies(*_: Any) -> bool:
        raise Unavailable("The reconciler's machine is gone.")

    def overtaken(record: Record) -> None:
        monkeypatch.setattr(store, "put", put)
        monkeypatch.setattr(type(runs), "settle", dies)
        with pytest.raises(Unavailable):
            line.app.runtime.intents.complete(run.head)
        monkeypatch.setattr(type(runs), "settle", settle)
        put(record)

    monkeypatch.setattr(store, "put", overtaken)
    with pytest.raises(Conflict):
        run.rewind("a")
    assert (run.status, run.head.stage, run.state.ran) == (RunStatus.QUEUED, "c", ["a", "b"])
    assert line.finish(run).ran == STAGES


def test_a_run_is_not_cancelled_without_its_state_while_the_log_is_away(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that cannot be read for good is another thing."""
    run = line.steps(line.start(), 2)
    store = line.app.checkpoints.store

    def away(*_: Any) -> Record:
        raise Unavailable("gone fishing")

    with monkeypatch.context() as patched:
        patched.setattr(store, "get", away)
        with pytest.raises(Unavailable, match="gone fishing"):
            run.cancel()
        assert run.status is RunStatus.CANCELLING
    run.cancel()
    assert (run.status, run.state.ran) == (RunStatus.CANCELLED, ["a", "b"])
