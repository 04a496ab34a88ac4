"""What Celery's signals and Flower's events say of the stages in a burst."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from celery import Celery, current_task, signals
from kombu import Consumer

from milepost.tasks import Context, Milepost, Retry, Run
from support.waiting import eventually

SIGNALS = ("prerun", "success", "failure", "retry", "postrun")
State = dict[str, Any]


class Line:
    """Three stages in one burst; the last one does as the state says."""

    def __init__(self, url: str, attempts: int = 2) -> None:
        self.app = Milepost(url)
        self.seen: list[tuple[str, str]] = []
        line = self.app.pipeline("line", burst="1m")

        def note(state: State, ctx: Context) -> State:
            self.seen.append((current_task.name, current_task.request.id))
            if "raise" in state and ctx.stage == "c":
                raise ValueError(state["raise"])
            return state

        line.stage(name="a")(note)
        line.stage(name="b")(note)
        line.stage(name="c", retry=Retry(attempts=attempts, backoff="1h"))(note)

    def task(self, run: Run) -> Any:
        """Let Celery itself run the task of the run's message."""
        kwargs = {"run_id": run.id, "sequence": run.head.sequence}
        return self.app.celery.tasks[f"line.{run.head.stage}"].apply(kwargs=kwargs)


@pytest.fixture
def line(redis_url: str) -> Iterator[Line]:
    line = Line(redis_url)
    with closing(line.app), line.app.celery:
        yield line


@contextmanager
def heard() -> Iterator[list[tuple[str, str, dict[str, Any]]]]:
    """Collect signals: which, of which task, and with what."""
    heard: list[tuple[str, str, dict[str, Any]]] = []
    receivers = []
    for name in SIGNALS:

        def receive(sender: Any = None, name: str = name, **about: Any) -> None:
            heard.append((name, sender.name, about))

        receivers.append(receive)
        getattr(signals, f"task_{name}").connect(receive, weak=False)
    try:
        yield heard
    finally:
        for name, receive in zip(SIGNALS, receivers, strict=True):
            getattr(signals, f"task_{name}").disconnect(receive)


def test_every_stage_is_a_task_to_who_listens(line: Line) -> None:
    run = line.app.start("line", {"n": 1})
    with heard() as signals_heard:
        result = line.task(run)

    assert result.get() == "advanced to b"
    told = [(name, task) for name, task, _ in signals_heard]
    inner = [(name, f"line.{stage}") for stage in "bc" for name in ("prerun", "success", "postrun")]
    assert told == [("prerun", "line.a"), *inner, ("success", "line.a"), ("postrun", "line.a")]
    assert [name for name, _ in line.seen] == ["line.a", "line.b", "line.c"]
    ids = [about["task_id"] for name, _, about in signals_heard if name == "prerun"]
    assert ids == [task_id for _, task_id in line.seen]
    assert len({*ids}) == 3
    last = next(about for name, task, about in signals_heard[::-1] if task == "line.c")
    assert last["kwargs"] == {"run_id": run.id, "sequence": 2}
    assert (last["retval"], last["state"]) == ("completed", "SUCCESS")
    assert not current_task


@pytest.mark.parametrize(("attempts", "outcome"), [(1, "failure"), (2, "retry")])
def test_a_failure_is_that_of_its_stage(
    redis_url: str, caplog: pytest.LogCaptureFixture, attempts: int, outcome: str
) -> None:
    """The task that began the burst has done what its message asked for."""
    line = Line(redis_url, attempts)
    with closing(line.app), line.app.celery, heard() as signals_heard:
        result = line.task(line.app.start("line", {"raise": "no luck"}))

    assert result.get() == "advanced to b"
    last = {name: about for name, task, about in signals_heard if task == "line.c"}
    assert [*last] == ["prerun", outcome, "postrun"]
    assert last["postrun"]["state"] == outcome.upper()
    if attempts == 1:
        assert str(last["failure"]["exception"]) == "no luck"
        assert last["failure"]["task_id"] == line.seen[-1][1]
        assert "Stage line.c" in caplog.text
        assert "ValueError: no luck" in caplog.text
    else:
        assert "no luck" in str(last["retry"]["reason"].exc)


@pytest.mark.parametrize("state", [{}, {"raise": "no luck"}])
def test_monitors_are_told_under_an_id_of_the_stage(line: Line, state: State) -> None:
    """From another thread, in the order in which it happened."""
    app = line.app.celery
    app.conf.worker_send_task_events = True
    with watched(app) as events:
        run = line.app.start("line", state)
        line.task(run)
        eventually(lambda: len(events()) >= 6, 5)

    told = events()
    ids = [task_id for _, task_id in line.seen[1:]]
    assert [event["uuid"] for event in told] == [ids[0]] * 3 + [ids[1]] * 3
    end = "task-retried" if state else "task-succeeded"
    for stage, number, events_of in zip("bc", (1, 2), (told[:3], told[3:]), strict=True):
        received, started, ended = events_of
        assert (received["type"], started["type"]) == ("task-received", "task-started")
        assert ended["type"] == (end if stage == "c" else "task-succeeded")
        assert (received["name"], received["root_id"]) == (f"line.{stage}", run.id)
        assert received["parent_id"] == line.seen[0][1]
        assert received["kwargs"] == repr({"run_id": run.id, "sequence": number})
        assert received["timestamp"] <= started["timestamp"] <= ended["timestamp"]
    assert ("no luck" in ended.get("exception", "")) is bool(state)


def test_nobody_is_told_who_does_not_watch(line: Line) -> None:
    app = line.app.celery
    app.conf.worker_send_task_events = False
    with watched(app) as events:
        line.task(line.app.start("line", {}))
        line.app.runtime.events.close()
        assert events() == []


@contextmanager
def watched(app: Celery) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Subscribe to task events; what is given returns those that have come."""
    found: list[dict[str, Any]] = []
    with app.connection_for_read() as connection, connection.channel() as channel:
        receiver = app.events.Receiver(channel, {"*": found.append})

        def come() -> list[dict[str, Any]]:
            with suppress(TimeoutError):
                while True:
                    connection.drain_events(timeout=0.1)
            return found

        with receiver.get_consumers(partial(Consumer, channel), channel)[0]:
            come()
            yield come
