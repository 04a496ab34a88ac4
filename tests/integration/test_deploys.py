"""Runs that were started under other code than the worker has now."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from integration.deploys import Deploys, begun, finish, step
from milepost.checkpointing import InvalidName, Misconfigured, Unavailable
from milepost.tasks import Context, RunPaused, RunStatus
from milepost.tasks.errors import VersionAhead
from milepost.tasks.versions import order


def test_versions_are_compared_by_their_parts() -> None:
    assert order("2") < order("10") < order("10.1") < order("11-rc1")
    assert order("2026.9") < order("2026.10")
    assert order("1.0") == order("1-0")


@pytest.mark.fault("F69")
def test_a_renamed_stage_is_found(deploys: Deploys) -> None:
    run_id = begun(deploys.app("a", "b", "c"))
    new = deploys.app("a", "bee<b", "c", version="2")
    run = finish(new, run_id)
    assert run.status is RunStatus.COMPLETED
    assert deploys.ran == ["a1", "bee2", "c2"]
    assert (run.head.version, run.head.stages_total, run.progress) == ("2", 3, (3, 3))
    assert run.state == {"a": "1", "bee": "2", "c": "2"}


@pytest.mark.fault("F69")
def test_a_removed_stage_makes_room(deploys: Deploys) -> None:
    run_id = begun(deploys.app("a", "b", "c"))
    new = deploys.app("a", "c", version="2")
    new.versions["line"].current.removed("b", then="c")
    run = finish(new, run_id)
    assert run.status is RunStatus.COMPLETED
    assert deploys.ran == ["a1", "c2"]
    assert run.progress == (2, 2)


@pytest.mark.fault("F69")
def test_inserted_stages_are_run_by_who_has_not_passed_them(deploys: Deploys) -> None:
    old = deploys.app("a", "b", "c")
    passed, before = begun(old, 2), begun(old, 1)
    new = deploys.app("a", "b", "b2", "c", "d", version="2")
    deploys.ran.clear()
    assert finish(new, before).status is RunStatus.COMPLETED
    assert deploys.ran == ["b2", "b22", "c2", "d2"]
    deploys.ran.clear()
    assert finish(new, passed).status is RunStatus.COMPLETED
    assert deploys.ran == ["c2", "d2"]


@pytest.mark.fault("F69")
def test_a_stage_that_is_gone_stops_the_run(deploys: Deploys) -> None:
    run_id = begun(deploys.app("a", "b", "c"))
    new = deploys.app("a", "c", version="2")
    assert new.turn_away("line.b", [], {"run_id": run_id, "sequence": 1}) == (
        "paused: the code is not there"
    )
    run = new.run(run_id)
    assert run.status is RunStatus.PAUSED
    assert run.head.failure is not None
    assert run.head.failure["type"] == "StageGone"
    assert "Stage b is due" in run.head.failure["message"]
    with pytest.raises(RunPaused, match="removed"):
        run.wait(timeout=5)
    assert deploys.ran == ["a1"]
    # A later deploy says what has become of it.
    newer = deploys.app("a", "c<b", version="3")
    newer.run(run_id).resume()
    assert finish(newer, run_id).status is RunStatus.COMPLETED
    assert deploys.ran == ["a1", "c3"]


def test_a_run_waits_for_workers_that_have_its_stage(deploys: Deploys) -> None:
    """In a deploy that goes from worker to worker, some have it still or already."""
    old = deploys.app("a", "b", "c")
    run_id = begun(old)
    new = deploys.app("a", "c", version="2", waits=3600)
    for _ in range(2):
        message = {"run_id": run_id, "sequence": 1}
        assert new.turn_away("line.b", [], message) == "left to other workers"
        head = new.run(run_id).head
        assert (head.status, (head.failure or {})["type"]) == (RunStatus.SCHEDULED, "StageGone")
        new.run(run_id).retry()
    assert finish(old, run_id).status is RunStatus.COMPLETED
    assert deploys.ran == ["a1", "b1", "c1"]


def test_the_time_of_a_deploy_is_counted_from_the_first_refusal(deploys: Deploys) -> None:
    run_id = begun(deploys.app("a", "b", "c"))
    waiting, late = (deploys.app("a", "c", version="2", waits=w) for w in (3600, 0.001))
    message = {"run_id": run_id, "sequence": 1}
    assert waiting.turn_away("line.b", [], message) == "left to other workers"
    since = (waiting.run(run_id).head.failure or {})["since"]
    waiting.run(run_id).retry()
    assert late.turn_away("line.b", [], message) == "paused: the code is not there"
    assert (late.run(run_id).head.failure or {})["since"] == since


@pytest.mark.fault("F68")
def test_an_old_worker_leaves_newer_runs_alone(deploys: Deploys) -> None:
    old = deploys.app("a", "b", "c")
    new = deploys.app("a", "b", "c", version="2")
    run_id = begun(new)
    assert step(old, run_id) == "left to other workers"
    head = old.run(run_id).head
    assert (head.status, head.failures, head.crashes) == (RunStatus.SCHEDULED, 0, 0)
    new.run(run_id).retry()
    assert finish(new, run_id).status is RunStatus.COMPLETED
    assert deploys.ran == ["a2", "b2", "c2"]


def test_a_run_that_a_newer_worker_has_committed_is_a_newer_run(deploys: Deploys) -> None:
    old = deploys.app("a", "b", "c")
    run_id = begun(old)
    new = deploys.app("a", "b", "c", version="2")
    step(new, run_id)
    assert step(old, run_id) == "left to other workers"
    assert deploys.ran == ["a1", "b2"]


def test_commands_of_older_code_are_refused(deploys: Deploys) -> None:
    """They would send the run back to a version that its stages have left behind."""
    old = deploys.app("a", "b", "c")
    new = deploys.app("a", "b", "c", version="2")
    run_id = begun(new)
    before, late = new.run(run_id).head, old.run(run_id)
    for command in (late.skip, lambda: late.rewind("a"), lambda: late.edit({}), late.fork):
        with pytest.raises(
            VersionAhead, match=r"is of version 2 of .*the code here is of version 1"
        ):
            command()
    assert new.run(run_id).head == before
    new.run(run_id).rewind("a")
    assert new.run(run_id).head.version == "2"
    assert finish(new, run_id).status is RunStatus.COMPLETED


def test_what_a_newer_operator_began_is_ended_by_newer_code(
    deploys: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even by code in which the stage that is due then has another name."""
    old = deploys.app("a", "b", "c")
    new = deploys.app("a", "b", "c", version="2")
    if new.runtime.log_in_runs:
        pytest.skip("checkpoint and head are written in one step")

    def dies(*_: Any) -> bool:
        raise Unavailable("The operator's machine is gone.")

    renamed = deploys.app("a", "x<b", "c", version="3")
    for ends in (new, renamed):
        run = new.run(begun(new))
        with monkeypatch.context() as patch:
            patch.setattr(new.runs, "settle", dies)
            with pytest.raises(Unavailable):
                run.rewind("b")
        with pytest.raises(VersionAhead):
            old.runtime.intents.complete(run.head)
        assert run.status is RunStatus.REDIRECTING
        ends.runtime.intents.complete(run.head)
        assert (run.status, run.head.version, run.head.stage) == (RunStatus.QUEUED, "2", "b")
        assert finish(ends, run.id).status is RunStatus.COMPLETED


@pytest.mark.fault("F69")
def test_runs_keep_to_a_version_that_is_still_there(deploys: Deploys) -> None:
    run_id = begun(deploys.app("a", "b", "c"))
    both = deploys.app("a", "b", "c")
    deploys.define(both, "a", "x", version="2")
    assert finish(both, run_id).status is RunStatus.COMPLETED
    started = both.start("line", {})
    assert finish(both, started.id).status is RunStatus.COMPLETED
    assert deploys.ran == ["a1", "b1", "c1", "a2", "x2"]


@pytest.mark.fault("F69")
@pytest.mark.parametrize(
    ("stages", "what"), [(("b", "a", "c"), "a twice"), (("c", "a", "b"), "c never")]
)
def test_reordered_stages_stop_the_run(
    deploys: Deploys, stages: tuple[str, ...], what: str
) -> None:
    run_id = begun(deploys.app("a", "b", "c"))
    new = deploys.app(*stages, version="2")
    assert step(new, run_id) == "paused: the code is not there"
    failure = new.run(run_id).head.failure or {}
    assert failure["type"] == "StagesReordered"
    assert what in failure["message"]
    assert deploys.ran == ["a1"]


def test_a_commit_under_the_old_name_is_adopted(deploys: Deploys) -> None:
    """A worker with the old code wrote the body and died; one with the new code finds it."""
    old = deploys.app("a", "b", "c")
    if old.runtime.log_in_runs:
        pytest.skip("body and head are written together")
    run_id = begun(old)

    def die(run: str, stage: str) -> None:
        raise KeyboardInterrupt

    old.faultpoints.install("saved", die)
    with pytest.raises(KeyboardInterrupt):
        step(old, run_id)
    new = deploys.app("a", "bee<b", "c", version="2")
    finish(new, run_id)
    assert deploys.ran == ["a1", "b1", "c2"]


def test_a_commit_under_any_former_name_is_adopted(deploys: Deploys) -> None:
    old = deploys.app("a", "b", "c")
    if old.runtime.log_in_runs:
        pytest.skip("body and head are written together")
    run_id = begun(old)
    second = deploys.app("a", "bee<b", "c", version="2")

    def die(run: str, stage: str) -> None:
        raise KeyboardInterrupt

    second.faultpoints.install("saved", die)
    with pytest.raises(KeyboardInterrupt):
        step(second, run_id)
    third = deploys.app("a", version="3")
    line = third.versions["line"].current
    line.stage(name="bumble", formerly=["b", "bee"])(lambda state: deploys.ran.append("bumble"))
    line.stage(name="c")(lambda state: {**state, "c": "3"})
    assert finish(third, run_id).state == {"a": "1", "bee": "2", "c": "3"}
    assert deploys.ran == ["a1", "bee2"]


@pytest.mark.parametrize("stages", [("a", "b", "c"), ("a", "b")])
def test_a_commit_that_the_new_code_would_not_make_is_not_adopted(
    deploys: Deploys, stages: tuple[str, ...]
) -> None:
    """Of a removed stage; or with another stage to follow, or none, which the log would say for good."""
    old = deploys.app(*stages)
    if old.runtime.log_in_runs:
        pytest.skip("body and head are written together")
    run_id = begun(old)

    def die(run: str, stage: str) -> None:
        raise KeyboardInterrupt

    old.faultpoints.install("saved", die)
    with pytest.raises(KeyboardInterrupt):
        step(old, run_id)
    if len(stages) == 3:
        new = deploys.app("a", "c", version="2")
        new.versions["line"].current.removed("b", then="c")
        expected = ["a1", "b1", "c2"]
    else:
        new = deploys.app("a", "b", "c", version="2")
        expected = ["a1", "b1", "b2", "c2"]
    run = finish(new, run_id)
    assert deploys.ran == expected
    assert run.state["c"] == "2"
    assert new.checkpoints.restore(run_id).metadata.next_stage is None  # type: ignore[union-attr]


def test_a_run_that_is_resumed_waits_anew_for_its_code(deploys: Deploys) -> None:
    run_id = begun(deploys.app("a", "b", "c"))
    at_once, patient = (deploys.app("a", "c", version="2", waits=w) for w in (0, 3600))
    message = {"run_id": run_id, "sequence": 1}
    assert at_once.turn_away("line.b", [], message) == "paused: the code is not there"
    at_once.run(run_id).resume()
    assert patient.turn_away("line.b", [], message) == "left to other workers"


def test_progress_is_of_the_stage_that_saved_it(deploys: Deploys) -> None:
    """A renamed stage goes on with it; what comes instead of a removed one begins anew."""
    seen: dict[str, Any] = {}

    def saves(state: dict[str, Any], ctx: Context) -> dict[str, Any]:
        ctx.save({"half": True})
        ctx.hand_back()

    def looks(name: str) -> Callable[[dict[str, Any], Context], dict[str, Any]]:
        def look(state: dict[str, Any], ctx: Context) -> dict[str, Any]:
            seen[name] = ctx.progress
            return state

        return look

    old = deploys.app()
    for pipeline in ("renamed", "removed"):
        old.pipeline(pipeline).stage(name="b")(saves)
    runs = {name: old.start(name, {}) for name in ("renamed", "removed")}
    for run in runs.values():
        step(old, run.id)
    new = deploys.app()
    new.pipeline("renamed", version="2").stage(name="bee", formerly="b")(looks("renamed"))
    removed = new.pipeline("removed", version="2")
    removed.stage(name="instead")(looks("removed"))
    removed.removed("b", then="instead")
    for run in runs.values():
        assert finish(new, run.id).status is RunStatus.COMPLETED
    assert seen == {"renamed": {"half": True}, "removed": None}


def test_definitions_that_contradict_themselves_are_refused(deploys: Deploys) -> None:
    app = deploys.app("a", "b<old", version="2")
    line = app.versions["line"].current
    with pytest.raises(Misconfigured, match="defined already"):
        app.pipeline("line", version="2")
    with pytest.raises(Misconfigured, match="has a stage a already"):
        line.stage(name="c", formerly=["a"])(lambda state: state)
    with pytest.raises(Misconfigured, match="has a stage old already"):
        line.removed("old", then="a")
    with pytest.raises(Misconfigured, match="no stage 'z'"):
        line.removed("gone", then="z")
    with pytest.raises(InvalidName):
        line.removed("../gone", then="a")
    line.upcast("1")(lambda state: state)
    for version in ("1", "2", "3"):
        with pytest.raises(Misconfigured, match="cannot be upcast"):
            line.upcast(version)(lambda state: state)


def test_the_fingerprint_tells_codes_apart(deploys: Deploys) -> None:
    def of(*stages: str) -> str:
        app = deploys.app(*stages)
        return app.versions["line"].current.fingerprint

    assert of("a", "b") == of("a", "b")
    assert len({of("a", "b"), of("b", "a"), of("a"), of("a", "b", "c")}) == 4
    run = deploys.app("a", "b").start("line", {})
    assert run.head.fingerprint == of("a", "b")


def test_a_rewound_run_is_of_the_version_that_rewound_it(deploys: Deploys) -> None:
    """Its head says which stages are before it now."""
    run_id = begun(deploys.app("a", "b", "c"), 2)
    new = deploys.app("a", "x", "b", "c", version="2")

    new.run(run_id).rewind("b")

    head, pipeline = new.run(run_id).head, new.pipelines["line"]
    assert (head.version, head.fingerprint) == ("2", pipeline.fingerprint)
    assert (head.stage, head.stages_done, head.stages_total) == ("b", 2, 4)
    assert json.loads(head.plan) == ["a", "x", "b", "c"]
