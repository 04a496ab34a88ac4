"""A run is cancelled at every point of a step: it ends once, and nothing is written behind its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from milepost.checkpointing import Kind
from milepost.tasks import Conflict, Context, Milepost, Run, RunStatus
from milepost.tasks.faultpoints import POINTS, Point
from support.s3_server import MotoServer, store_url

STAGES = ("a", "b", "c")
SPLIT: frozenset[Point] = frozenset({"saved", "published", "noted"})


class Lab:
    """A run whose stage *b* is cancelled at one point."""

    def __init__(self, url: str, point: Point | None, checkpoints: str | None = None) -> None:
        # Messages in another database than runs, so that each point is passed.
        split: dict[str, Any] = {"runs": url, "checkpoints": checkpoints} if checkpoints else {}
        broker = url.removesuffix("0") + "1" if checkpoints else url
        self.app = Milepost(broker, **split)
        self.seen: list[bool] = []
        line = self.app.pipeline("line")
        for name in STAGES:
            line.stage(name=name)(self._body(name))
        if point is not None:
            self.app.faultpoints.install(point, self._cancel)
        self.run = self.app.start("line", {}, run_id=uuid4().hex)

    def _body(self, name: str) -> Any:
        def body(state: dict[str, Any], ctx: Context) -> dict[str, Any]:
            if name == "b" and self.app.run(ctx.run_id).status.ended:
                self.app.runtime.owner.beat()
                self.seen.append(ctx.cancelled)
            return {**state, name: 1}

        return body

    def _cancel(self, run_id: str, stage: str) -> None:
        if stage == "b" and not self.app.run(run_id).status.ended:
            self.app.run(run_id).cancel()

    def step(self) -> str:
        head = self.run.head
        return self.app.runtime.engine.execute("line", head.step)

    def close(self) -> None:
        self.app.close()
        self.app.celery.close()


@pytest.fixture
def labs(redis_url: str, moto_server: MotoServer) -> Iterator[Any]:
    made: list[Lab] = []

    def make(point: Point | None = None, *, split: bool = False) -> Lab:
        log = store_url(moto_server.endpoint, uuid4().hex) if split else None
        made.append(Lab(redis_url, point, log))
        return made[-1]

    yield make
    for lab in made:
        lab.close()


def is_over(run: Run, stages: tuple[str, ...]) -> None:
    """The run is cancelled with what was committed, and stays so whatever is asked of it."""
    assert run.status is RunStatus.CANCELLED
    assert run.state == dict.fromkeys(stages, 1)
    history = run.checkpoints()
    assert [found.timeline for found in history] == [1, *[0] * (len(history) - 1)]
    assert history[0].kind is Kind.COMMIT
    run.cancel()
    for command in (run.pause, run.resume, run.retry):
        with pytest.raises(Conflict):
            command()
    assert run.checkpoints() == history


@pytest.mark.fault("F56")
@pytest.mark.parametrize("split", [False, True], ids=["one Redis", "S3"])
@pytest.mark.parametrize("point", POINTS)
def test_at_a_point_of_the_step(labs: Any, point: Point, split: bool) -> None:
    if point in SPLIT and not split:
        pytest.skip("the step does not pass it")
    lab: Lab = labs(point, split=split)
    lab.step()

    lab.step()

    # Of a message the points name the stage that it is for.
    is_over(lab.run, ("a", "b") if point == "advanced" else ("a",))
    assert lab.seen == ([True] if point in ("claimed", "loaded") else [])
    lab.app.runtime.reconciler.look()
    assert lab.run.status is RunStatus.CANCELLED


@pytest.mark.fault("F56")
@pytest.mark.parametrize("split", [False, True], ids=["one Redis", "S3"])
def test_between_steps(labs: Any, split: bool) -> None:
    """Queued, between two stages, twice; and what has completed says that it has."""
    queued, between, done = (labs(split=split) for _ in range(3))
    queued.run.cancel()
    between.step()
    between.run.cancel()
    between.run.cancel()
    for _ in STAGES:
        done.step()

    is_over(queued.run, ())
    is_over(between.run, ("a",))
    assert between.step() == "finished"
    with pytest.raises(Conflict, match="completed"):
        done.run.cancel()
    assert done.run.status is RunStatus.COMPLETED
