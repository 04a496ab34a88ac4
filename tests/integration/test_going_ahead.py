"""A stage that is begun again does not wait behind all that was queued since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from secrets import token_hex
from typing import Any

import pytest

from milepost.tasks import Milepost, Run
from milepost.tasks.head import Step
from milepost.tasks.runs import Bid
from milepost.tasks.runs.base import Claim
from support.redis_server import RedisServer

WAITING = 20


class Line:
    """Runs that wait for their first stage, oldest first, and what a worker would take."""

    def __init__(self, app: Milepost) -> None:
        self.app = app
        line = app.pipeline("line")
        line.stage(name="first")(lambda state: state)
        line.stage(name="second")(lambda state: state)
        self.runs: list[Run] = [app.start("line", {}) for _ in range(WAITING)]

    def next(self) -> Step:
        found = self.app.runtime.dispatch.outbox.oldest("milepost", limit=1)
        assert found is not None
        return replace(found[0], stage=found[0].stage.removeprefix("line."))

    def take(self) -> Step:
        """Take a message as a worker does."""
        step = self.next()
        with self.app.celery.connection_for_read() as connection:
            connection.default_channel.client.rpop("milepost")
        return step

    def claim(self, step: Step) -> Claim:
        claim = self.app.runs.claim(step, Bid("ann", token_hex(8), 1))
        assert isinstance(claim, Claim)
        return claim


@pytest.fixture(params=["one Redis", "two Redis"])
def line(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Line]:
    with RedisServer() as other:
        app = Milepost(redis_url, runs=other.url if request.param == "two Redis" else None)
        yield Line(app)
        app.close()
        app.celery.close()


def test_a_run_whose_worker_died_goes_on_next(line: Line) -> None:
    step = line.take()
    assert step.run_id == line.runs[0].id
    line.claim(step)

    line.app.runs.bury("ann", "child")
    assert line.next().run_id == line.runs[1].id
    line.app.runtime.reconciler.look()

    assert line.take() == step
    assert line.next().run_id == line.runs[1].id


def test_nobody_is_taken_for_lost_because_of_it(line: Line) -> None:
    """Those that wait were published before what has been claimed now."""
    step = line.take()
    line.claim(step)
    line.app.runs.bury("ann", "child")
    line.app.runtime.reconciler.look()
    newest: Any = line.app.runs.look().newest

    assert line.app.runs.claim(line.take(), Bid("bob", token_hex(8), 1))
    assert line.app.runs.look().newest == newest


def test_a_stage_that_is_handed_back_goes_on_next(line: Line) -> None:
    claim, dispatch = line.claim(line.take()), line.app.runtime.dispatch
    push = dispatch.render_due(claim.head)

    assert line.app.runs.hand_back(claim, push)
    if push is None:
        dispatch.publish(line.runs[0].head)

    assert line.next() == claim.head.step


def test_the_next_stage_waits_for_its_turn(line: Line) -> None:
    step = line.take()
    line.app.runtime.engine.execute("line", step)

    assert line.runs[0].head.stage == "second"
    assert line.next().run_id == line.runs[1].id
