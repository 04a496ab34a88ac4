"""What a worker makes of orders, and what it says of itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from celery.concurrency.solo import TaskPool
from celery.worker import state

from milepost.checkpointing import Unavailable
from milepost.tasks import Milepost, TaskSettings
from milepost.worker.fleet import Fleet, WorkerReport
from milepost.worker.presence import Presence
from support.waiting import eventually


class Consumer:
    """Celery's, as far as presence speaks with it; its loop goes round at once."""

    connection_errors = (ConnectionError,)

    def __init__(self) -> None:
        self.task_consumer = object()
        self.taken: list[str] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        call()

    def cancel_task_queue(self, name: str) -> None:
        self.taken.append(f"-{name}")

    def add_task_queue(self, name: str) -> None:
        self.taken.append(f"+{name}")


@pytest.fixture
def app(redis_url: str) -> Iterator[Milepost]:
    with closing(Milepost(redis_url, settings=TaskSettings(heartbeat_lapse_seconds=2))) as app:
        app.pipeline("line", version="2").stage(name="new", formerly=["old"])(lambda state: state)
        yield app


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.setattr(state, "should_stop", None)
    return SimpleNamespace(
        hostname="w@here", pool_cls=TaskPool, pool=None, concurrency=3, consumer=Consumer()
    )


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def presence(
    app: Milepost, worker: SimpleNamespace, stopping: threading.Event
) -> Iterator[Presence]:
    presence = Presence(app, worker, stopping)
    yield presence
    presence.leave()


def shown(app: Milepost) -> WorkerReport:
    [report] = Fleet(app).workers()
    return report


def test_the_report(app: Milepost, presence: Presence, stopping: threading.Event) -> None:
    presence.start()

    report = shown(app)
    assert (report.name, report.pool, report.concurrency) == ("w@here", "solo", 3)
    assert (report.queues, report.holding, report.busy) == (("milepost",), (), {})
    assert (report.versions, report.known) == ({"line": "2"}, {"line 2": ("new", "old")})
    assert report.started_at <= report.seen_at
    assert abs(report.clock_skew_ms) < 1_000
    stopping.set()
    eventually(lambda: shown(app).state == "draining", 5, "news of its stopping")


def test_who_has_left_says_nothing_more(app: Milepost, presence: Presence) -> None:
    presence.start()
    app.runs.keep("drain", shown(app).key, json.dumps({"started_at": 0}))
    presence.leave()
    presence.leave()
    presence._report()

    assert app.runs.kept("worker") == app.runs.kept("drain") == {}


def test_an_order_to_another_life_is_none(
    app: Milepost, presence: Presence, worker: SimpleNamespace
) -> None:
    presence.start()
    report = shown(app)
    for garbage in ("", "[]", "{}"):
        app.runs.keep("drain", report.key, garbage)
        presence._obey()
    order = {"by": "ann", "started_at": report.started_at - 1}
    app.runs.keep("drain", report.key, json.dumps(order))
    presence._obey()
    assert state.should_stop is None

    order["started_at"] = report.started_at
    app.runs.keep("drain", report.key, json.dumps(order))
    presence._obey()

    assert state.should_stop == 0


def test_only_what_was_taken_is_given_up_and_taken_again(
    app: Milepost, presence: Presence, worker: SimpleNamespace
) -> None:
    fleet = Fleet(app)
    fleet.pause_queue("milepost", "ann")
    fleet.pause_queue("other", "ann")
    presence.start()
    assert [*app.celery.amqp.queues.consume_from] == []
    assert shown(app).queues == ("milepost",)
    presence._obey()
    fleet.resume_queue("other", "ann")
    presence._obey()
    assert worker.consumer.taken == []

    fleet.resume_queue("milepost", "ann")
    presence._obey()

    assert worker.consumer.taken == ["+milepost"]


def test_a_worker_that_connects_anew_takes_again_later(
    app: Milepost, presence: Presence, worker: SimpleNamespace
) -> None:
    presence.start()
    fleet = Fleet(app)
    task_consumer, worker.consumer.task_consumer = worker.consumer.task_consumer, None
    fleet.pause_queue("milepost", "ann")
    presence._obey()
    assert [*app.celery.amqp.queues.consume_from] == []
    fleet.resume_queue("milepost", "ann")
    presence._obey()
    assert worker.consumer.taken == []

    worker.consumer.task_consumer = task_consumer
    presence._obey()

    assert worker.consumer.taken == ["+milepost"]


def test_a_run_store_that_is_away_costs_no_more_than_reports(
    app: Milepost, presence: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    presence.start()
    seen_at = shown(app).seen_at
    asked = threading.Semaphore(0)

    def away(kind: str) -> Any:
        asked.release()
        raise Unavailable("gone fishing")

    with monkeypatch.context() as patch:
        patch.setattr(app.runs, "kept", away)
        assert all(asked.acquire(timeout=5) for _ in range(2))

    eventually(lambda: shown(app).seen_at > seen_at, 5, "a report")
