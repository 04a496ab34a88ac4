"""Commands that are interrupted or overtaken, wherever runs and log are kept."""

from __future__ import annotations

from typing import Any

import pytest

from integration.command_line import STAGES, Line, State
from milepost.checkpointing import (
    CheckpointKey,
    Record,
    Unavailable,
)
from milepost.tasks import Conflict, RunStatus, UnknownRun
from support.waiting import eventually


@pytest.mark.fault("F16")
def test_an_operator_who_dies_after_the_intent_leaves_the_run_as_it_was(line: Line) -> None:
    """The reconciler takes the intent back; who wakes up late is refused."""
    for pause in (False, True):
        run = line.steps(line.start(), 2)
        if pause:
            run.pause()
        runtime = line.app.runtime
        encoded = runtime.intents._encoded
        late: list[Any] = []

        def dies(*args: Any, encoded: Any = encoded, late: list[Any] = late) -> Any:
            late.append(encoded(*args))
            if len(late) == 1:
                # It is tried before anything is intended.
                return late[0]
            raise Unavailable("The operator's machine is gone.")

        runtime.intents._encoded = dies  # type: ignore[method-assign,assignment]
        with pytest.raises(Unavailable):
            run.rewind("a")
        del runtime.intents._encoded
        head = run.head
        assert head.status is RunStatus.REDIRECTING
        with pytest.raises(Conflict, match="is redirecting"):
            run.cancel()

        # It takes no code: workers that know nothing of the run may look first.
        known = dict(line.app.versions)
        line.app.versions.clear()
        line.pass_leases(run)
        line.app.versions.update(known)

        assert run.status is (RunStatus.PAUSED if pause else RunStatus.QUEUED)
        assert (run.head.stage, run.state.ran) == ("c", ["a", "b"])
        assert not runtime.intents._land(head, late[1])
        if pause:
            run.resume()
        assert line.finish(run).ran == STAGES


@pytest.mark.parametrize("before", [RunStatus.QUEUED, RunStatus.PAUSED, RunStatus.COMPLETED])
def test_what_cannot_be_read_keeps_no_run_redirecting(
    line: Line, monkeypatch: pytest.MonkeyPatch, before: RunStatus
) -> None:
    """An interrupted rewind is taken back all the same; the stage due says what is wrong."""
    run = line.steps(line.start(), 4 if before is RunStatus.COMPLETED else 2)
    if before is RunStatus.PAUSED:
        run.pause()
    lost = run.head

    def dies(*_: Any) -> bool:
        raise Unavailable("The operator's machine is gone.")

    with monkeypatch.context() as patch:
        patch.setattr(line.app.runtime.intents, "_land", dies)
        with pytest.raises(Unavailable):
            run.rewind("a")
    line.app.checkpoints.store.delete(lost.key)

    line.pass_leases(run)

    head = run.head
    assert (head.status, head.at, head.stage) == (before, lost.at, lost.stage)
    if before is not RunStatus.COMPLETED:
        if before is RunStatus.PAUSED:
            run.resume()
        assert line.step(run) == "failed"
        assert (run.head.failure or {})["type"] == "NotFound"
        run.rewind(checkpoint_id=run.checkpoints()[-1].checkpoint_id)
        assert line.finish(run).ran == STAGES


def test_a_damaged_checkpoint_of_an_operator_keeps_no_run_redirecting(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on as if nobody had asked, or needs a retry."""
    if line.app.runtime.log_in_runs:
        pytest.skip("checkpoint and head are written in one step")
    run = line.steps(line.start(), 2)

    def dies(*_: Any) -> bool:
        raise Unavailable("The operator's machine is gone.")

    with monkeypatch.context() as patch:
        patch.setattr(line.app.runs, "settle", dies)
        with pytest.raises(Unavailable):
            run.rewind("a")
    store, head = line.app.checkpoints.store, run.head
    key = CheckpointKey(run.id, head.sequence + 1, head.timeline)
    store.delete(key)
    store.put(Record(key, b"no header", b"no body"))

    line.pass_leases(run)

    assert (run.status, run.head.stage, run.head.at) == (RunStatus.QUEUED, "c", head.at)
    assert line.step(run) == "failed", "it stands where the commit of the stage would"
    assert (run.head.failure or {})["type"] == "Corrupt"
    run.retry()
    assert line.finish(run).ran == STAGES


@pytest.mark.fault("F16")
def test_an_operator_who_dies_after_the_checkpoint_is_obeyed(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in the log is what the reconciler goes on with."""
    if line.app.runtime.log_in_runs:
        pytest.skip("checkpoint and head are written in one step")
    run = line.steps(line.start(), 3)
    runs = line.app.runs
    settle = type(runs).settle

    def dies(*_: Any) -> bool:
        raise Unavailable("The operator's machine is gone.")

    monkeypatch.setattr(type(runs), "settle", dies)
    with pytest.raises(Unavailable):
        run.rewind("b")
    monkeypatch.setattr(type(runs), "settle", settle)

    line.pass_leases(run)

    assert (run.status, run.head.stage, run.state.ran) == (RunStatus.QUEUED, "b", ["a"])
    assert line.finish(run).ran == STAGES


def test_a_run_that_is_resumed_before_its_deletion_begins_keeps_its_log(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who deletes has read that it is paused, and is refused."""
    run, runs = line.steps(line.start(), 2), line.app.runs
    run.pause()
    intend = runs.intend

    def overtaken(*args: Any) -> Any:
        run.resume()
        return intend(*args)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "intend", overtaken)
        with pytest.raises(Conflict, match="is queued; only a run that is"):
            run.delete()
    assert line.finish(run).ran == STAGES
    assert len(run.checkpoints()) == len(STAGES) + 1


def test_a_run_whose_deletion_has_begun_is_not_resumed(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is anything else done to it, and it is started no second time until it is gone."""
    run = line.pipeline.start(State(broken=True), run_id="once", budget={"usd": 1})
    line.steps(run, 3)
    refused: list[str] = []
    delete = line.app.runs.delete

    def meanwhile(*args: Any) -> Any:
        assert run.status is RunStatus.DELETING
        for command in (
            run.retry,
            run.resume,
            run.cancel,
            run.skip,
            run.fork,
            lambda: run.top_up(usd=1),
            lambda: line.pipeline.start(State(broken=True), run_id="once"),
            lambda: line.pipeline.start_many([State(broken=True)], run_ids=["once"]),
        ):
            with pytest.raises(Conflict, match="delet") as caught:
                command()
            refused.append(str(caught.value))
        return delete(*args)

    with monkeypatch.context() as patch:
        patch.setattr(line.app.runs, "delete", meanwhile)
        run.delete()
    assert len(refused) == 8
    assert line.app.runs.get("once") is None
    assert line.finish(line.pipeline.start(State(), run_id="once")).ran == STAGES


@pytest.mark.parametrize("place", ["intend", "delete_log", "delete"])
def test_a_deletion_that_is_interrupted_is_ended(
    line: Line, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """By whoever looks, whatever was done of it already."""
    if place == "delete_log" and line.app.runtime.log_in_runs:
        pytest.skip("run and log are removed in one step")
    run, app = line.steps(line.start(), 2), line.app
    run.pause()
    owner, name = {
        "intend": (app.runtime.intents, "complete"),
        "delete_log": (app.checkpoints.store, "delete_run"),
        "delete": (app.runs, "delete"),
    }[place]

    def dies(*_: Any) -> Any:
        raise Unavailable("The operator's machine is gone.")

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dies)
        with pytest.raises(Unavailable):
            run.delete()
    assert run.status is RunStatus.DELETING

    def gone() -> bool:
        app.runtime.reconciler.look()
        return app.runs.get(run.id) is None

    eventually(gone, 20)
    assert app.checkpoints.store.latest(run.id) is None
    with pytest.raises(UnknownRun):
        run.delete()
