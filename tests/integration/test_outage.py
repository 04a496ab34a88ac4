"""A thousand runs whose dependency is down for minutes, on a clock turned by hand."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from celery import Celery

from milepost.checkpointing import CheckpointManager
from milepost.tasks import Milepost, Retry, RunStatus
from milepost.tasks.head import Step
from milepost.tasks.runs.memory import MemoryRunStore
from milepost.tasks.runtime import Runtime
from milepost.tasks.setbacks import StageFailed

RUNS = 1000
BACK_SECOND = 150
"""When the dependency is back."""
CAP_SECONDS = 30
EVEN = RUNS / (CAP_SECONDS / 2)
"""Tries a second where waits of 15 to 30 s are spread as evenly as they can be."""


class DownError(Exception):
    """What the dependency says, or a client of it."""


class Outage:
    """Real engine, reconciler and run store; every message is taken at once, by workers without number."""

    _BEGAN_MS = 1_700_000_000_000

    def __init__(self) -> None:
        celery = Celery("outage", broker="memory://", set_as_current=False)
        self.app = Milepost(celery, runs="memory://")
        self.second = 0
        self.tries: Counter[int] = Counter()
        """Of all runs, by second."""
        self._messages: list[Step] = []
        self.app.pipeline("shop").stage(
            name="order", retry=Retry(attempts=50, backoff=f"1s..{CAP_SECONDS}s")
        )(self._order)
        runs = MemoryRunStore(self.app.settings, clock=lambda: self._BEGAN_MS + self.second * 1000)
        runtime: Any = Runtime(
            celery,
            runs,
            CheckpointManager(runs.log, self.app.settings, self.app.types),
            self.app.settings,
            self.app.faultpoints,
            self.app.versions,
            self.app.observers,
        )
        self.app._runtime, self.app._runtime_pid = runtime, os.getpid()
        outbox = runtime.dispatch.outbox
        outbox.publish = lambda task, step, queue, priority, ahead: self._messages.append(step)
        outbox.waiting = lambda queue: len(self._messages)
        self._runtime = runtime

    def _order(self, state: Any) -> Any:
        self.tries[self.second] += 1
        if self.second < BACK_SECOND:
            raise DownError("Connection refused.")
        return state

    def pass_a_second(self) -> None:
        """Let what is due be published, and what is published be run."""
        self.second += 1
        self._runtime.reconciler.look(RUNS)
        self.take_all()

    def take_all(self) -> None:
        """Run what waits."""
        taken, self._messages = self._messages, []
        for step in taken:
            with suppress(StageFailed):
                self._runtime.engine.execute("shop", step)

    def most(self, since: int, until: int) -> int:
        """Return the most tries in one second of a time."""
        return max(self.tries[second] for second in range(since, until))


@pytest.fixture
def outage() -> Iterator[Outage]:
    made = Outage()
    yield made
    made.app.close()
    made.app.celery.close()


@pytest.mark.fault("F59")
def test_retries_are_spread_and_there_is_no_spike_when_it_is_back(outage: Outage) -> None:
    """They begin together. By the longest wait they are spread so evenly as that wait can spread them."""
    runs = outage.app.start_many("shop", ({"n": n} for n in range(RUNS)))
    outage.take_all()
    while outage.second < BACK_SECOND + CAP_SECONDS + 2:
        outage.pass_a_second()

    assert outage.tries[0] == RUNS
    assert outage.most(BACK_SECOND // 2, BACK_SECOND) <= 1.5 * EVEN
    assert outage.most(BACK_SECOND, outage.second) <= 1.5 * EVEN
    assert {run.status for run in runs} == {RunStatus.COMPLETED}
    # As often as waits of 1, 2, 4 … 30 s, by three quarters of that, fit into the time.
    assert RUNS * 11 <= outage.tries.total() <= RUNS * 13
