"""Bursts: one task goes on with the stages that follow, and every stage is committed as ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from milepost.checkpointing import Unavailable
from milepost.tasks import Context, Milepost, PermanentError, Retry, Run, RunStatus
from milepost.tasks.head import Step
from milepost.tasks.monitor import Monitor
from milepost.tasks.setbacks import StageFailed
from milepost.tasks.settings import TaskSettings
from support.s3_server import MotoServer, store_url
from support.waiting import eventually

STAGES = ("a", "b", "c", "d")
State = dict[str, Any]


class Diary(Monitor):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def progressed(self, done: int, total: int | None) -> None:
        self.notes.append((done, total))

    def began(self, step: Step) -> None:
        self.notes.append(step.stage)

    def ended(self, said: str) -> None:
        self.notes.append(said)

    def failed(self, error: BaseException) -> None:
        self.notes.append(error)


class Lab:
    """An app whose pipelines note their stages, and what is told of them."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.app = Milepost(url, settings=TaskSettings(commit_patience_seconds=0.2, **settings))
        self.ran: list[str] = []
        self.diary = Diary()

    def line(self, burst: str = "1m", **options: Any) -> None:
        """Define the pipeline; *options* are those of stage c."""
        line = self.app.pipeline("line", burst=burst)
        for name in STAGES:
            line.stage(name=name, **(options if name == "c" else {}))(self._body(name))

    def _body(self, name: str) -> Callable[[State], State]:
        def body(state: State) -> State:
            self.ran.append(name)
            return {**state, name: len(self.ran)}

        return body

    def task(self, run: Run) -> str:
        """Do what a worker does that got the run's message."""
        head = run.head
        return self.app.runtime.engine.execute(head.pipeline, head.step, self.diary)

    def holds_nothing(self) -> bool:
        return not self.app.runtime.owner._held

    def waiting(self) -> int | None:
        return self.app.runtime.dispatch.waiting("milepost")


@pytest.fixture(params=["one Redis", "log in S3", "SQLite"])
def lab(
    request: pytest.FixtureRequest, redis_url: str, moto_server: MotoServer, tmp_path: Path
) -> Iterator[Lab]:
    match request.param:
        case "log in S3":
            lab = Lab(redis_url, checkpoints=store_url(moto_server.endpoint, uuid4().hex))
        case "SQLite":
            lab = Lab(redis_url, runs=f"sqlite:///{tmp_path}/runs")
        case _:
            lab = Lab(redis_url)
    yield lab
    lab.app.close()
    lab.app.celery.close()


def test_one_message_takes_a_run_to_its_end(lab: Lab) -> None:
    lab.line()
    run = lab.app.start("line", {"n": 1})

    assert lab.task(run) == "advanced to b"

    assert run.status is RunStatus.COMPLETED
    assert lab.ran == [*STAGES]
    assert run.state == {"n": 1, "a": 1, "b": 2, "c": 3, "d": 4}
    expected = ["b", "advanced to c", "c", "advanced to d", "d", "completed"]
    assert lab.diary.notes == expected
    found = run.checkpoints()
    assert [each.sequence for each in found] == [4, 3, 2, 1, 0]
    assert [each.token for each in found] == [4, 3, 2, 1, 0]
    assert all(each.attempt == 1 for each in found[:-1])
    assert lab.waiting() == 1, "its first, which nobody took from the queue"
    assert lab.holds_nothing()


def test_without_a_slice_each_stage_is_a_task(lab: Lab) -> None:
    lab.line(burst="0s")
    run = lab.app.start("line", {})
    assert lab.task(run) == "advanced to b"
    assert (run.head.stage, run.status, lab.ran) == ("b", RunStatus.QUEUED, ["a"])
    assert lab.waiting() == 2


def test_a_slice_that_is_used_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage that runs then is the last of this task."""
    lab.line(burst="5s")
    process = lab.app.runtime.process
    # All of it within the time after which a claim is taken for lost.
    monkeypatch.setattr(process, "monotonic", lambda: (0.0, 4.9, 5.0)[min(len(lab.ran), 2)])
    run = lab.app.start("line", {})
    assert _stage_after(lab, run) == "c"
    assert lab.ran == ["a", "b"]


@pytest.mark.parametrize(
    "options", [{"queue": "heavy"}, {"priority": 3}, {"timeout": "1m"}, {"rate_limit": "1/s"}]
)
def test_what_celery_applies_to_tasks_ends_a_burst(lab: Lab, options: dict[str, Any]) -> None:
    """The stage before c is the last of its task; after a stage with a time limit a new task begins, too."""
    lab.line(**options)
    run = lab.app.start("line", {})
    assert _stage_after(lab, run) == "c"
    assert lab.ran == ["a", "b"]
    goes_on = options.keys() == {"rate_limit"}
    lab.task(run)
    assert lab.ran == [*STAGES] if goes_on else ["a", "b", "c"]


def test_a_worker_that_stops_goes_no_further(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.line()
    run = lab.app.start("line", {})
    owner = type(lab.app.runtime.owner)
    monkeypatch.setattr(owner, "stopping", property(lambda _: len(lab.ran) == 2))
    assert _stage_after(lab, run) == "c"
    assert lab.ran == ["a", "b"]


def test_a_pause_holds_between_two_stages(lab: Lab) -> None:
    line = lab.app.pipeline("line", burst="1m")

    @line.stage
    def first(state: State, ctx: Context) -> State:
        lab.app.run(ctx.run_id).pause()
        return state

    line.stage(name="second")(lab._body("second"))
    run = lab.app.start("line", {})
    lab.task(run)
    assert (run.status, run.head.stage, lab.ran) == (RunStatus.PAUSED, "second", [])
    assert lab.holds_nothing()
    run.resume()
    lab.task(run)
    assert run.status is RunStatus.COMPLETED


def test_a_stage_gets_what_stands_in_its_checkpoint(lab: Lab) -> None:
    """Not what the stage before it holds in memory: a burst changes nothing but the speed."""
    line = lab.app.pipeline("line", burst="1m")
    kept: list[State] = []

    @line.stage
    def give(state: State) -> State:
        kept.append({"deep": {"n": 1}})
        return kept[0]

    @line.stage
    def take(state: State) -> State:
        kept[0]["deep"]["n"] = 2
        return {"took": state}

    run = lab.app.start("line", {})
    lab.task(run)
    assert run.state == {"took": {"deep": {"n": 1}}}


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_stage_that_fails_in_a_burst(lab: Lab, attempts: int) -> None:
    """It is recorded as ever; the task that began the burst has done what its message asked for."""
    line = lab.app.pipeline("line", burst="1m")
    line.stage(name="first")(lab._body("first"))

    @line.stage(retry=Retry(attempts=attempts, backoff="1h"))
    def second(state: State) -> State:
        raise ValueError("no luck")

    run = lab.app.start("line", {})
    assert lab.task(run) == "advanced to second"

    [began, failed] = lab.diary.notes
    assert began == "second"
    assert isinstance(failed, StageFailed)
    assert (failed.delay_seconds is None) is (attempts == 1)
    assert run.status is (RunStatus.FAILED if attempts == 1 else RunStatus.SCHEDULED)
    assert run.head.failures == 1
    assert "no luck" in run.head.error
    assert lab.holds_nothing()


def test_a_budget_ends_a_burst(lab: Lab) -> None:
    line = lab.app.pipeline("line", burst="1m")

    @line.stage
    def spend(state: State, ctx: Context) -> State:
        ctx.cost(dollars=2)
        return state

    line.stage(name="rest")(lab._body("rest"))
    run = lab.app.start("line", {}, budget={"dollars": 1})
    lab.task(run)
    assert (run.status, lab.ran) == (RunStatus.PAUSED, [])


def test_progress_is_told_of_the_stage_that_runs(lab: Lab) -> None:
    line = lab.app.pipeline("line", burst="1m")
    line.stage(name="first")(lab._body("first"))

    @line.stage
    def second(state: State, ctx: Context) -> State:
        for _ in ctx.track([1, 2], every=0):
            pass
        return state

    lab.task(lab.app.start("line", {}))
    assert lab.diary.notes == ["second", (1, 2), (2, 2), "completed"]


def test_a_store_that_falls_silent_leaves_nothing_held(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage next due was claimed, but nobody heard of it: the heartbeat frees it, uncounted."""
    lab.line()
    run = lab.app.start("line", {})
    whole = lab.app.runs.advance

    def deaf(*args: Any) -> Any:
        whole(*args)
        raise Unavailable("The store is away.")

    monkeypatch.setattr(lab.app.runs, "advance", deaf)
    with pytest.raises(Unavailable):
        lab.task(run)
    monkeypatch.undo()
    assert lab.holds_nothing()

    lab.app.runtime.owner.beat()

    head = run.head
    assert (head.status, head.stage, head.crashes) == (RunStatus.QUEUED, "b", 0)
    lab.task(run)
    assert run.status is RunStatus.COMPLETED
    assert lab.ran == [*STAGES]


def test_what_was_adopted_is_not_gone_on_from(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """More may have been done already than the run store knows: the next claim asks the log."""
    if lab.app.runtime.log_in_runs:
        pytest.skip("commits and heads are one here")
    lab.line(burst="0s")
    run = lab.app.start("line", {})
    head = run.head
    whole = lab.app.runs.advance

    def away(*_: Any) -> Any:
        raise Unavailable("The store is away.")

    monkeypatch.setattr(lab.app.runs, "advance", away)
    with pytest.raises(Unavailable):
        lab.task(run)
    monkeypatch.setattr(lab.app.runs, "advance", whole)
    lab.app.runtime.owner.beat()
    assert run.head.sequence == head.sequence
    lab.app.pipelines["line"].burst_seconds = 60

    assert lab.task(run) == "adopted: advanced to b"

    assert (run.status, run.head.stage, lab.ran) == (RunStatus.QUEUED, "b", ["a"])


def test_a_permanent_error_of_the_first_stage_is_the_tasks(lab: Lab) -> None:
    line = lab.app.pipeline("line", burst="1m")

    @line.stage
    def only(state: State) -> State:
        raise PermanentError("never")

    run = lab.app.start("line", {})
    with pytest.raises(StageFailed):
        lab.task(run)
    assert run.status is RunStatus.FAILED
    assert lab.diary.notes == []


def _stage_after(lab: Lab, run: Run) -> str:
    lab.task(run)
    eventually(lambda: run.status is RunStatus.QUEUED, 5)
    return run.head.stage


def test_a_burst_reads_no_checkpoint_and_makes_no_message(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its stages: what one commits is what the next one gets."""
    lab.line()
    run = lab.app.start("line", {})
    asked: list[str] = []
    log, dispatch = lab.app.checkpoints.store, lab.app.runtime.dispatch

    def spied(name: str, whole: Callable[..., Any]) -> Callable[..., Any]:
        def spy(*args: Any, **kwargs: Any) -> Any:
            asked.append(name)
            return whole(*args, **kwargs)

        return spy

    for place, name in ((log, "get"), (log, "latest"), (dispatch, "render")):
        monkeypatch.setattr(place, name, spied(name, getattr(place, name)))

    lab.task(run)

    assert asked == ([] if lab.app.runtime.log_in_runs else ["latest"])
    assert run.status is RunStatus.COMPLETED
