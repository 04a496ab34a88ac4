"""What the engine tells its observers, in each way in which a try can end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.recovery_site import Site
from milepost.tasks import Context, Milepost, Retry, Run, TaskSettings
from milepost.tasks.head import Head
from milepost.tasks.observer import Ending, Observer, Outcome
from milepost.tasks.setbacks import StageFailed
from milepost.tasks.testing.case import cancelling

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Notes(Observer):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, int, str, str, str]] = []
        self.sizes: list[int] = []
        self.published: list[int | None] = []

    def begin(self, head: Head, stage: str) -> Ending:
        def end(outcome: Outcome, error: BaseException | None) -> None:
            kind = type(error).__name__ if error else ""
            self.ended.append((stage, head.attempt, outcome, kind, head.recovered_from))

        return end

    def committed(self, head: Head, stage: str, size_bytes: int) -> None:
        self.sizes.append(size_bytes)

    def looked(self, published: int | None) -> None:
        self.published.append(published)


class Place:
    """An app whose stages do as their state says."""

    def __init__(self, url: str) -> None:
        self.app = Milepost(url, settings=TaskSettings(max_crashes=3))
        self.notes = Notes()
        self.app.observers.add(self.notes)
        moody = self.app.pipeline("moody")

        @moody.stage(retry=Retry(attempts=2, backoff="0s"))
        def act(state: dict[str, Any], ctx: Context) -> dict[str, Any]:
            mood = state["moods"][ctx.attempt - 1]
            if mood == "fail":
                raise ValueError("moody")
            if mood == "hand back":
                ctx.hand_back()
            if mood == "lose":
                self.app.runs.intend(ctx.run_id, cancelling("c1"))
            if mood == "spend":
                ctx.afford(usd=5)
            return state

    def step(self, run: Run) -> str:
        return self.app.runtime.engine.execute("moody", run.head.step)

    def begin(self, *moods: str, **options: Any) -> Run:
        return self.app.start("moody", {"moods": moods}, **options)


@pytest.fixture
def place(redis_url: str) -> Iterator[Place]:
    there = Place(redis_url)
    yield there
    there.app.close()
    there.app.celery.close()


def test_how_tries_end(place: Place) -> None:
    assert place.step(place.begin("go")) == "completed"
    failing = place.begin("fail", "fail")
    for _ in range(2):
        with pytest.raises(StageFailed):
            place.step(failing)
        place.app.runtime.reconciler.look()
    assert place.step(place.begin("hand back")) == "handed back"
    assert place.step(place.begin("lose")) == "fenced"
    assert place.step(place.begin("spend", budget={"usd": 1})) == "paused: out of budget"

    assert place.notes.ended == [
        ("act", 1, "committed", "", ""),
        ("act", 1, "retried", "ValueError", ""),
        ("act", 2, "failed", "ValueError", ""),
        ("act", 1, "handed_back", "", ""),
        ("act", 1, "fenced", "", ""),
        ("act", 1, "parked", "", ""),
    ]
    assert len(place.notes.sizes) == 1
    assert place.notes.sizes[0] > 100


def test_a_failure_after_a_loss_is_no_loss(place: Place) -> None:
    """What was lost is told once, to the try that goes on."""
    run = place.begin("hand back", "fail", "go")
    assert place.step(run) == "handed back"
    with pytest.raises(StageFailed):
        place.step(run)
    run.retry()
    place.step(run)

    assert [(attempt, lost) for _, attempt, _, _, lost in place.notes.ended] == [
        (1, ""),
        (2, "leaving"),
        (3, ""),
    ]


def test_the_trace_survives_the_run_store(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints carry it, so a run that is rebuilt goes on in its trace."""
    monkeypatch.setattr("milepost.tasks.starting.begin_trace", lambda pipeline, run_id: TRACE)
    site = Site(redis_url, f"file://{tmp_path}/log")
    try:
        run = site.begun("traced", 2)
        assert run.head.trace == TRACE
        site.lose_runs()
        site.recover()
        assert run.head.trace == TRACE
        site.finish(run)
    finally:
        site.close()
