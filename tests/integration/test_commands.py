"""Rewind, skip, edit and fork, with the log in the run store's Redis, in S3, and both in SQLite."""

from __future__ import annotations

from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest

from integration.command_line import STAGES, Line, State
from milepost.checkpointing import (
    InvalidName,
    Misconfigured,
    NotFound,
    NotSerializable,
)
from milepost.tasks import Conflict, RunStatus, StateInvalid, UnknownPipeline
from milepost.tasks.runs import Claim
from milepost.tasks.testing.case import new_bid
from support.s3_server import MotoServer, store_url


def test_a_completed_run_is_rewound_and_goes_on_from_there(line: Line) -> None:
    """The state is the one from before the stage; what came after stays in the history."""
    run = line.start()
    assert line.finish(run).ran == STAGES

    run.rewind("c")

    head = run.head
    assert (head.status, head.stage, head.stages_done) == (RunStatus.QUEUED, "c", 2)
    assert run.state.ran == ["a", "b"]
    assert line.finish(run).ran == STAGES
    assert run.head.stages_done == run.head.stages_total == 4
    history = run.checkpoints()
    assert [m.note for m in history if m.note] == ["rewound to c by ann"]
    assert [m.timeline for m in history] == [1, 1, 1, 0, 0, 0, 0, 0]
    assert [m.sequence for m in history] == [7, 6, 5, 4, 3, 2, 1, 0]


def test_a_rewound_run_can_be_rewound_again_to_what_lies_before(line: Line) -> None:
    """The way back leads along the parents, not through what was abandoned."""
    run = line.steps(line.start(), 3)
    run.rewind("b")
    line.step(run)
    run.rewind("a")
    assert (run.head.stage, run.state.ran) == ("a", [])
    run.rewind("a")
    assert line.finish(run).ran == STAGES
    with pytest.raises(Conflict, match="has no checkpoint from before stage d"):
        line.steps(line.start(), 1).rewind("d")


def test_a_run_goes_on_from_any_of_its_commits(line: Line) -> None:
    """Even from one that an earlier rewind has left behind."""
    run = line.steps(line.start(), 3)
    left_behind = run.checkpoint.metadata.checkpoint_id
    run.rewind("a")
    line.step(run)

    run.rewind(checkpoint_id=left_behind)

    assert (run.head.stage, run.state.ran) == ("d", ["a", "b", "c"])
    assert line.finish(run).ran == STAGES
    with pytest.raises(Conflict, match="No stage was due after checkpoint"):
        run.rewind(checkpoint_id=run.checkpoint.metadata.checkpoint_id)
    with pytest.raises(NotFound):
        run.rewind(checkpoint_id="none")
    with pytest.raises(Misconfigured, match="either a stage or a checkpoint"):
        run.rewind()


def test_the_way_back_leads_along_the_parents(line: Line) -> None:
    """Not to what is younger and was left behind."""
    run = line.steps(line.start(), 3)
    due_d = run.checkpoint.metadata.checkpoint_id
    run.rewind("a")
    run.edit(patch={"n": 100})
    line.step(run)
    run.rewind(checkpoint_id=due_d)
    run.rewind("b")
    assert run.state == State(n=1, ran=["a"])


def test_a_stage_in_flight_is_fenced_by_a_rewind(line: Line) -> None:
    """Its result is refused, and the run goes on from where it was sent."""
    run = line.steps(line.start(), 2)
    head = run.head
    runtime = line.app.runtime
    claim = runtime.runs.claim(head.step, new_bid())
    assert isinstance(claim, Claim)

    run.rewind("a")

    assert not runtime.runs.fail(claim, "{}", None)
    assert line.finish(run).ran == STAGES


def test_a_paused_run_that_is_rewound_stays_paused(line: Line) -> None:
    """So that it can be looked at before it goes on."""
    run = line.steps(line.start(), 2)
    run.pause()
    run.rewind("a")
    assert (run.status, run.head.stage) == (RunStatus.PAUSED, "a")
    assert line.step(run) == "paused"
    run.resume()
    assert line.finish(run).ran == STAGES


def test_the_stage_that_failed_is_skipped(line: Line) -> None:
    """The next stage gets the state that the skipped one would have got."""
    run = line.steps(line.start(broken=True), 3)
    assert run.status is RunStatus.FAILED

    run.skip()

    assert (run.status, run.head.stage, run.head.error) == (RunStatus.QUEUED, "d", "")
    assert line.finish(run).ran == ["a", "b", "d"]
    assert "c skipped by ann" in [m.note for m in run.checkpoints()]


def test_skipping_the_last_stage_completes_the_run(line: Line) -> None:
    """With the state that it has."""
    run = line.steps(line.start(), 3)
    run.skip()
    assert (run.status, run.progress) == (RunStatus.COMPLETED, (4, 4))
    assert run.state.ran == ["a", "b", "c"]
    with pytest.raises(Conflict, match="is completed; only a run"):
        run.skip()


def test_skipping_the_last_stage_keeps_what_the_pipeline_keeps(line: Line) -> None:
    """As when the stage itself had ended the run."""
    brief = line.app.pipeline("brief", keep_on_success=1)
    for name in ("a", "b"):
        brief.stage(name=name)(line.pipeline.stages[name].function)
    run = line.steps(brief.start(State()), 1)
    run.skip()
    assert (run.status, run.state.ran) == (RunStatus.COMPLETED, ["a"])
    (last,) = run.checkpoints()
    assert (last.sequence, last.note) == (2, "b skipped by ann")


def test_an_edited_failed_run_is_mended_by_a_retry(line: Line) -> None:
    """It stays failed until then, in the group of its error."""
    run = line.steps(line.start(broken=True, n=40), 3)
    (group,) = line.app.runs.groups()

    run.edit(patch={"broken": False})

    head = run.head
    assert (head.status, head.error_group, head.stage) == (RunStatus.FAILED, group.group, "c")
    assert run.state == State(n=42, ran=["a", "b"])
    assert [(g.group, g.count) for g in line.app.runs.groups()] == [(group.group, 1)]
    run.retry()
    assert line.app.runs.groups() == []
    assert line.finish(run) == State(n=44, ran=STAGES)


def test_a_whole_state_replaces_the_one_that_stands(line: Line) -> None:
    """As the model that the stage takes, or as JSON that it accepts."""
    run = line.steps(line.start(), 1)
    run.edit({"n": 7})
    run.edit(State(n=8))
    assert line.finish(run) == State(n=11, ran=["b", "c", "d"])


def test_what_the_stage_cannot_do_with_is_refused_and_changes_nothing(line: Line) -> None:
    """One sentence names the field."""
    run = line.steps(line.start(), 1)
    before, history = run.head, run.checkpoints()
    for patch in ({"n": "many"}, {"ran": 3}, [1]):
        with pytest.raises(StateInvalid, match="The state is not what stage b expects"):
            run.edit(patch=patch)
    with pytest.raises(NotSerializable):
        run.edit(patch={"ran": ["\ud800"]})
    with pytest.raises(Misconfigured, match="either a whole state or a patch"):
        run.edit()
    assert run.head == before
    assert run.checkpoints() == history


def test_a_run_that_waits_for_its_time_keeps_it_when_it_is_edited(line: Line) -> None:
    """Only its input is another then."""
    run = line.pipeline.start(State(), delay="1h")
    run.edit(patch={"n": 5})
    assert run.status is RunStatus.SCHEDULED
    line.app.runtime.reconciler.look()
    assert run.status is RunStatus.SCHEDULED
    run.retry()
    assert line.finish(run).n == 9


def test_a_delay_that_no_clock_tells_is_none(line: Line) -> None:
    """The message goes out with the start, not when somebody misses it."""
    for run in (
        line.pipeline.start(State(), delay=0.0004),
        *line.pipeline.start_many([State()], delay=0.0004),
    ):
        assert (run.status, run.head.published_at > 0) == (RunStatus.QUEUED, True)


def test_a_fork_is_a_run_of_its_own(line: Line) -> None:
    """It begins with what the other had there, and leaves that as it is."""
    run = line.start(n=10)
    line.finish(run)

    fork = run.fork("c", run_id="the-fork")

    assert run.fork("c", run_id="the-fork").id == fork.id, "doing it again is the same fork"
    head = fork.head
    assert (head.stage, head.stages_done, head.origin.split("/")[0]) == ("c", 2, run.id)
    assert line.finish(fork) == State(n=14, ran=STAGES)
    assert run.progress == fork.progress == (4, 4)
    assert len(fork.checkpoints()) == 3
    with pytest.raises(Conflict, match="name the stage"):
        run.fork()
    with pytest.raises(Conflict, match="another input"):
        run.fork("b", run_id="the-fork")
    with pytest.raises(InvalidName, match="run id"):
        run.fork("b", run_id="../b")
    run.delete()
    assert fork.state.n == 14


def test_a_fork_is_for_whom_the_first_run_was(line: Line) -> None:
    """It has tags, tenant, priority and budget of the other, whose checkpoint its first one names."""
    run = line.pipeline.start(
        State(), tags=["eu", "night"], tenant="acme", priority=3, budget={"usd": 5}
    )
    line.step(run)

    one, other = run.head, run.fork().head

    assert (other.tags, other.tenant) == (("eu", "night"), "acme")
    assert (other.run_priority, other.priority) == (one.run_priority, one.priority) == ("3", 3)
    assert (other.budget, other.stage) == (one.budget, "b")
    first = line.app.run(other.run_id).checkpoint.metadata
    assert (first.parent, first.stage, first.sequence) == (one.checkpoint_id, "a", 0)
    assert first.note == f"forked from {other.origin}"


def test_what_goes_on_is_published_at_once(line: Line) -> None:
    """Nobody waits for the reconciler."""
    failed, paused, done = (line.steps(line.start(broken=n == 0), 3) for n in range(3))
    failed.retry()
    paused.pause()
    paused.resume()
    line.finish(done).ran.clear()
    done.rewind("b")
    for run in (failed, paused, done, done.fork("a")):
        assert run.status is RunStatus.QUEUED
        assert run.head.published_at > 0


def test_what_the_stage_behind_cannot_do_with_keeps_a_run_from_being_skipped(line: Line) -> None:
    """The state is the one that the skipped stage would have got."""
    counts = line.app.pipeline("counts")

    @counts.stage
    def count(state: dict[str, int]) -> dict[str, int]:
        return {"n": 1}

    @counts.stage
    def report(state: State) -> State:
        return state

    run = counts.start({"n": "none yet"})
    before = run.head
    with pytest.raises(StateInvalid, match=r"stage report expects: state\.n"):
        run.skip()
    with pytest.raises(Conflict, match="has no checkpoint from before stage report"):
        run.fork("report")
    assert run.head == before


def test_two_peoples_equal_top_ups_both_count(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though both have read the same budget, and a reply is lost."""
    run = line.pipeline.start(State(), budget={"usd": 1})
    runs = line.app.runs
    set_budget, others = runs.set_budget, line.app.lifecycle.on_behalf_of("bob")

    def overtaken(*args: Any, **seen: Any) -> bool:
        monkeypatch.setattr(runs, "set_budget", twice)
        others.top_up(run.id, {"usd": 5})
        return runs.set_budget(*args, **seen)

    def twice(*args: Any, **seen: Any) -> bool:
        return [set_budget(*args, **seen) for _ in "12"][1]

    monkeypatch.setattr(runs, "set_budget", overtaken)
    run.top_up(usd=5)
    assert run.head.budget == '{"usd": 11.0}'


def test_a_lost_run_store_does_not_undo_a_rewind(redis_url: str, moto_server: MotoServer) -> None:
    """The log knows where the run was sent."""
    line = Line(redis_url, checkpoints=store_url(moto_server.endpoint, uuid4().hex))
    with closing(line.app):
        run, edited = line.steps(line.start(), 3), line.steps(line.start(broken=True), 3)
        run.rewind("b")
        edited.edit(patch={"broken": False})
        line.app.runs.client.flushdb()  # type: ignore[attr-defined]
        rebuilt = {r.run_id: r.status for r in line.app.runtime.rebuilder.rebuild()}
        assert rebuilt == {run.id: RunStatus.QUEUED, edited.id: RunStatus.FAILED}
        assert (run.head.stage, run.head.stages_done) == ("b", 1)
        edited.retry()
        assert line.finish(run).ran == line.finish(edited).ran == STAGES
        line.app.celery.close()


def test_what_is_not_known_here_cannot_be_redirected(line: Line) -> None:
    """Where a run goes on is for code to say that has its stages."""
    run = line.steps(line.start(), 2)
    with pytest.raises(UnknownPipeline, match="has no stage 'z'; it has a, b, c, d"):
        run.rewind("z")
    line.app.versions.clear()
    for command in (run.skip, lambda: run.rewind("a"), lambda: run.edit({}), run.fork):
        with pytest.raises(UnknownPipeline, match="not defined here"):
            command()
