"""What a status forbids, and what a command that nobody finished leaves."""

from __future__ import annotations

import pytest

from integration.command_line import STAGES, Line, State
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
