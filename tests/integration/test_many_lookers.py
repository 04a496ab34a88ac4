"""Many who look after runs at once: each stalled run is set going once, and no living one is disturbed."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier, Event
from typing import Any

import pytest
import redis

from milepost.checkpointing.redis_connection import SHARDS
from milepost.tasks import Milepost, Run, RunStatus, TaskSettings
from milepost.tasks.head import Step
from milepost.tasks.message import from_kwargs
from milepost.tasks.runs import Bid, Claim, Look
from support.waiting import eventually

LOOKERS = 4


class Crowd:
    """Apps as of so many workers; runs in database 0, messages in database 1: no script writes both."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stack = ExitStack()
        self.taken: list[str] = []
        """Whose message was taken, each time."""
        self.ran: list[str] = []
        """Which run's stage was run, each time."""
        self.looks: list[int] = []
        """How often each app has looked."""
        self.runs = self._stack.enter_context(redis.Redis.from_url(url))
        self.broker = self._stack.enter_context(redis.Redis.from_url(f"{url.removesuffix('0')}1"))
        self.client = self._build(1)
        # What they publish has time to be taken, however slow they are.
        self.apps = [self._build(20) for _ in range(LOOKERS)]

    def _build(self, patience_seconds: int) -> Milepost:
        settings = TaskSettings(patience_seconds=patience_seconds, heartbeat_lapse_seconds=3.0)
        app = Milepost(f"{self._url.removesuffix('0')}1", runs=self._url, settings=settings)
        for queue in ("milepost", "busy"):
            app.pipeline(queue).stage(name="go", queue=queue)(self._go)
        self._stack.callback(app.celery.close)
        self._stack.callback(app.close)
        # Once, and no more, each asks for who it is and loads what it needs.
        app.runtime.reconciler.look(0)
        return app

    def _go(self, state: Any, ctx: Any) -> Any:
        self.ran.append(ctx.run_id)
        return state

    def start(self, count: int, queue: str = "milepost") -> list[Run]:
        """Start runs of one stage, whose messages go to *queue*."""
        return [self.client.start(queue, {"n": n}) for n in range(count)]

    def hold(self, runs: Sequence[Run], owners: int = 1) -> None:
        """Claim what is due of *runs* for so many processes that will never be heard of again."""
        for n, run in enumerate(runs):
            bid = Bid(f"gone{n % owners}", f"{n:016x}", n, f"elsewhere:{n % owners}")
            assert isinstance(self.client.runtime.runs.claim(run.head.step, bid), Claim)

    def work_on(self, runs: Sequence[Run]) -> None:
        """Claim what is due of *runs* for a process that is there."""
        owner = self.client.runtime.owner
        for run in runs:
            bid = owner.bid()
            assert isinstance(self.client.runtime.runs.claim(run.head.step, bid), Claim)
            owner.confirm(bid)

    def look_until(self, done: Callable[[], bool], *, limit: int = 100, works: bool = False) -> int:
        """Let all look, beginning at once, until *done*; return how many messages they published.

        Args:
            works: Each also takes from the queue "milepost", and runs what it takes.
        """
        ended, barrier = Event(), Barrier(LOOKERS)

        def look_on(app: Milepost) -> int:
            published = looks = 0
            barrier.wait()
            while not ended.is_set():
                published += app.runtime.reconciler.look(limit)
                looks += 1
                while works and self._take(app):
                    pass
            self.looks.append(looks)
            return published

        with ThreadPoolExecutor(LOOKERS) as pool:
            looking = [pool.submit(look_on, app) for app in self.apps]
            try:
                eventually(done, 60, "all set going")
            finally:
                ended.set()
            return sum(each.result() for each in looking)

    def _take(self, app: Milepost) -> bool:
        raw = self.broker.rpop("milepost")
        if raw is None:
            return False
        assert isinstance(raw, bytes)
        _, kwargs, _ = json.loads(base64.b64decode(json.loads(raw)["body"]))
        step = from_kwargs("go", (), kwargs)
        assert isinstance(step, Step)
        self.taken.append(step.run_id)
        app.runtime.engine.execute("milepost", step)
        return True

    def queued(self, queue: str = "milepost") -> Counter[str]:
        """How many messages each run has on *queue*."""
        raw: Any = self.broker.lrange(queue, 0, -1)
        bodies = (base64.b64decode(json.loads(message)["body"]) for message in raw)
        return Counter(json.loads(body)[1]["run_id"] for body in bodies)

    def close(self) -> None:
        """Let go of all connections."""
        self._stack.close()


@pytest.fixture
def crowd(redis_url: str) -> Iterator[Crowd]:
    made = Crowd(redis_url)
    yield made
    made.close()


@pytest.mark.fault("F54")
def test_stalled_runs_are_set_going_once_and_living_ones_left_alone(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred stand still: published never, or in vain, or held by the dead. A hundred run or wait."""
    stalled = crowd.start(60)
    crowd.hold(stalled[:30])
    crowd.broker.delete("milepost")
    with monkeypatch.context() as patch:
        patch.setattr(crowd.client.runtime.dispatch, "publish", lambda head: False)
        stalled += crowd.start(40)
    running = crowd.start(50, "busy")
    crowd.work_on(running)
    crowd.broker.delete("busy")
    waiting = crowd.start(50, "busy")
    held = [run.head for run in running]

    def seen() -> bool:
        """Whether the stalled have come to their ends, and what waits was looked at more than once."""
        ended = all(run.status is RunStatus.COMPLETED for run in stalled)
        return ended and min(run.head.patience_ms for run in waiting) > 2000

    crowd.look_until(seen, works=True)

    once = Counter(run.id for run in stalled)
    assert Counter(crowd.ran) == once
    assert Counter(crowd.taken) + crowd.queued() == once
    assert crowd.queued("busy") == Counter(run.id for run in waiting)
    assert [run.head for run in running] == held
    assert [run.head.token for run in stalled] == [2] * 30 + [1] * 70


@pytest.mark.fault("F60")
def test_a_thousand_runs_that_stall_at_once_cost_few_commands(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever held them died at once, and all workers come at once: a script a look and one a run."""
    stalled = crowd.client.start_many("milepost", ({"n": n} for n in range(1000)))
    crowd.hold(stalled, owners=20)
    crowd.broker.delete("milepost")
    pages: list[int] = []
    for app in crowd.apps:
        look = app.runtime.runs.look

        def counted(limit: int, look: Callable[[int], Look] = look) -> Look:
            found = look(limit)
            pages.append(len(found.heads))
            return found

        monkeypatch.setattr(app.runtime.runs, "look", counted)
    crowd.runs.config_resetstat()

    published = crowd.look_until(lambda: crowd.broker.llen("milepost") >= 1000, limit=10)

    stats: Any = crowd.runs.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}
    # A script that a client has not used yet may be sent twice.
    assert calls["evalsha"] <= sum(crowd.looks) + 1000 + 2 * LOOKERS, calls
    assert published == 1000
    assert set(crowd.queued().values()) == {1}
    assert max(pages) <= 10 * SHARDS
