"""What is not a plain kill: poison stages, garbage in the queue, a broker that dies, cancelling."""

from __future__ import annotations

import json
import signal
from base64 import b64encode
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest

from acceptance.arena import Arena
from acceptance.pipelines import STAGES, Trail
from milepost.tasks import Milepost, Run, RunCancelled, RunFailed, RunStatus
from support.processes import Pool
from support.waiting import eventually

DONE = Trail(done=[*STAGES])


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    """An arena of the test's own: its server may be killed, its queue deleted."""
    with Arena(tmp_path) as arena:
        yield arena


@pytest.fixture
def app(arena: Arena) -> Iterator[Milepost]:
    with arena.app() as app:
        yield app


def completes(arena: Arena, app: Milepost, run: Run, **executions: int) -> None:
    arena.checker(app).judge(run, state=DONE, stages=STAGES, executions=executions)


@pytest.mark.fault("F18", "F47")
def test_poison_is_set_aside_and_its_neighbour_completes(arena: Arena, app: Milepost) -> None:
    trap = arena.trap("inside")
    with arena.worker(concurrency=2, env=trap.env) as worker:
        worker.wait_ready()
        neighbour = app.start("relay", Trail())
        trap.wait_reached()
        run = app.start("poison", Trail())
        with pytest.raises(RunFailed, match="WorkerLost"):
            run.wait(20)
        head = run.head
        assert (head.status, head.crashes) == (RunStatus.FAILED, 3)
        assert head.failure is not None
        assert head.failure["type"] == "WorkerLost"
        assert len(arena.ledger.entries(run.id)) == 3
        assert worker.exit_code is None
        trap.release()
        completes(arena, app, neighbour)

        arena.antidote.touch()
        run.retry()
        run.wait(15)
        assert run.state == Trail(done=["swallow"])
        assert len(arena.ledger.entries(run.id)) == 4


@pytest.mark.fault("F47")
def test_poison_that_takes_whole_workers_along(arena: Arena, app: Milepost) -> None:
    """On threads each crash costs the worker and whatever else it ran: only the poison is set aside."""
    trap = arena.trap("inside")
    with arena.worker("threads", 2, env=trap.env) as worker:
        worker.wait_ready()
        neighbour = app.start("relay", Trail())
        trap.wait_reached()
        run = app.start("poison", Trail())

        def set_aside() -> bool:
            if worker.exit_code is not None:
                worker.start()
            return run.status is RunStatus.FAILED

        eventually(set_aside, 60, "the poison set aside")
        assert run.head.failure is not None
        assert run.head.failure["type"] == "WorkerLost"
        if worker.exit_code is not None:
            worker.start()
        worker.wait_ready()
        neighbour.wait(20)
        assert neighbour.state == DONE


def queued_message(arena: Arena, app: Milepost) -> dict[str, Any]:
    """Start a run while no worker is there, and take its message off the queue."""
    app.start("relay", Trail())
    raw = arena.broker.rpop("milepost")
    assert isinstance(raw, bytes)
    message: dict[str, Any] = json.loads(raw)
    return message


def is_put_aside(app: Milepost, count: int) -> bool:
    return len(app.runs.aside()) == count


GARBAGE = [
    *(b"\x00\xff garbage", b"{}", b"[1]", b'{"body": 1}', b"null", b"[" * 100_000),
    *(b'{"n": ' + b"1" * 5_000 + b"}", b'{"__type__": "datetime", "__value__": "x"}'),
]


@pytest.mark.fault("F48")
@pytest.mark.parametrize("pool", get_args(Pool))
def test_garbage_on_the_queue(arena: Arena, app: Milepost, pool: Pool) -> None:
    with arena.worker(pool) as worker:
        worker.wait_ready()
        for count, garbage in enumerate(GARBAGE, 1):
            arena.broker.lpush("milepost", garbage)
            eventually(partial(is_put_aside, app, count), what=f"{garbage[:40]!r} put aside")
            completes(arena, app, app.start("relay", Trail()))
        assert worker.exit_code is None, worker.text()


def spoilt(message: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield messages that look like those of Celery and cannot be taken."""
    headers, properties = message["headers"], message["properties"]
    spoilt: dict[str, dict[str, Any]] = {
        "no base64": {"body": "!not base64!"},
        "no JSON": {"body": b64encode(b"not json").decode()},
        "no triple": {"body": b64encode(b"[1]").decode()},
        "no kwargs": {"body": b64encode(b"[[], 1, {}]").decode()},
        "task is a list": {"headers": {**headers, "task": ["x"]}},
        "no task": {"headers": {k: v for k, v in headers.items() if k != "task"}},
        "no id": {"headers": {k: v for k, v in headers.items() if k != "id"}},
        "short time limit": {"headers": {**headers, "timelimit": [1]}},
        "time limit of text": {"headers": {**headers, "timelimit": ["a", None]}},
        "endless time limit": {"headers": {**headers, "timelimit": [float("inf"), None]}},
        "stamped by a number": {"headers": {**headers, "stamped_headers": 5}},
        "stamped by lists": {"headers": {**headers, "stamped_headers": [[1]], "stamps": [2]}},
        "bad eta": {"headers": {**headers, "eta": 5}},
        "unknown encoding": {"properties": {**properties, "body_encoding": "zzz"}},
        "unknown content": {"content-type": "application/x-python-serialize"},
    }
    for name, changes in spoilt.items():
        yield name, {**message, **changes}


@pytest.mark.fault("F48")
@pytest.mark.parametrize("pool", get_args(Pool))
def test_spoilt_messages(arena: Arena, app: Milepost, pool: Pool) -> None:
    """Each is put aside, neither the worker nor another one dies of it, and the queue moves."""
    messages = [*spoilt(queued_message(arena, app))]
    with arena.worker(pool) as worker:
        worker.wait_ready()
        for count, (name, message) in enumerate(messages, 1):
            arena.broker.lpush("milepost", json.dumps(message))
            eventually(partial(is_put_aside, app, count), what=f"{name}: put aside")
            completes(arena, app, app.start("relay", Trail()))
        assert worker.exit_code is None, worker.text()


@pytest.mark.fault("F25", "F48")
def test_messages_celery_can_read_but_no_stage(arena: Arena, app: Milepost) -> None:
    with arena.worker() as worker:
        worker.wait_ready()
        for kwargs in ({}, {"run_id": "../x", "sequence": 0}, {"run_id": "x", "sequence": "0"}):
            app.celery.send_task("relay.first", kwargs=kwargs, ignore_result=True)
        app.celery.send_task("relay.first", args=[1, 2], ignore_result=True)
        app.celery.send_task(
            "relay.first", kwargs={"run_id": "unknown", "sequence": 0}, ignore_result=True
        )
        app.celery.send_task("no.such.task", kwargs={}, ignore_result=True)
        completes(arena, app, app.start("relay", Trail()))
        eventually(lambda: len(app.runs.aside()) == 5, what="five messages put aside")
        assert worker.exit_code is None


@pytest.mark.fault("F23")
def test_the_server_dies_under_a_stage(arena: Arena, app: Milepost) -> None:
    trap = arena.trap("inside")
    # With "everysec" the last second may be lost, and this is not the test of that.
    arena.runs.config_set("appendfsync", "always")
    with arena.worker(env=trap.env) as worker:
        worker.wait_ready()
        run = app.start("relay", Trail())
        trap.wait_reached()
        arena.server.kill()
        trap.release()
        worker.wait_for_log("Trying again in")
        arena.server.start()
        # The claim may lapse meanwhile, in favour of another try; it does not with so short a time.
        arena.checker(app).judge(
            run, state=DONE, stages=STAGES, executions={"second": {1, 2}}, deadline_s=40
        )


@pytest.mark.fault("F55")
def test_the_queue_is_deleted(arena: Arena, app: Milepost) -> None:
    runs = [app.start("relay", Trail()) for _ in range(5)]
    assert arena.broker.delete("milepost") == 1
    with arena.worker(concurrency=2) as worker:
        worker.wait_ready()
        for run in runs:
            completes(arena, app, run)


@pytest.mark.fault("F56")
def test_cancel_during_a_stage(arena: Arena, app: Milepost) -> None:
    trap = arena.trap("inside")
    with arena.worker(env=trap.env) as worker:
        worker.wait_ready()
        run = app.start("relay", Trail())
        trap.wait_reached()
        run.cancel()
        with pytest.raises(RunCancelled):
            run.wait(5)
        trap.release()
        worker.wait_for_log("the result of stage second was refused")
        assert run.status is RunStatus.CANCELLED
        assert run.checkpoint.state == {"done": ["first"]}
        assert [e.stage for e in arena.ledger.entries(run.id)] == ["first", "second"]
        completes(arena, app, app.start("relay", Trail()))


@pytest.mark.fault("F21")
def test_hand_back_on_sigterm(arena: Arena, app: Milepost) -> None:
    with arena.worker() as worker:
        worker.wait_ready()
        run = app.start("yielding", Trail())
        eventually(lambda: arena.ledger.entries(run.id), what="the stage begun")
        worker.terminate()
        assert worker.wait_exit() == 0
        assert (run.status, run.head.crashes, run.head.failures) == (RunStatus.QUEUED, 0, 0)
        worker.start().wait_ready()
        arena.checker(app).judge(
            run, state=Trail(done=["polite"]), stages=["polite"], executions={"polite": 2}
        )


@pytest.mark.fault("F21")
@pytest.mark.parametrize("pool", get_args(Pool))
def test_the_grace_period_ends(arena: Arena, app: Milepost, pool: Pool) -> None:
    trap = arena.trap("inside")
    with arena.worker(pool, env={"MILEPOST_GRACE_SECONDS": "0.5", **trap.env}) as worker:
        worker.wait_ready()
        run = app.start("relay", Trail())
        trap.wait_reached()
        worker.terminate()
        worker.wait_exit()
        assert run.head.crashes == run.head.suspicions == 0
        worker.start().wait_ready()
        completes(arena, app, run, second=2)


@pytest.mark.fault("F22")
@pytest.mark.parametrize("last", [signal.SIGKILL, signal.SIGINT], ids=str)
def test_a_deploy_that_does_not_wait(arena: Arena, app: Milepost, last: signal.Signals) -> None:
    """SIGTERM, and SIGKILL before the stage has ended; or Ctrl-C, and Ctrl-C again."""
    trap = arena.trap("inside")
    with arena.worker(env=trap.env) as worker:
        worker.wait_ready()
        run = app.start("relay", Trail())
        trap.wait_reached()
        worker.signal_pid(worker.pid, signal.SIGTERM if last == signal.SIGKILL else last)
        worker.wait_for_log("Warm shutdown")
        if last == signal.SIGKILL:
            worker.kill_group()
        else:
            worker.signal_pid(worker.pid, last)
            worker.wait_exit()
        worker.start().wait_ready()
        completes(arena, app, run, second=2)


@pytest.mark.fault("F14")
def test_a_worker_that_has_nothing_to_do_is_killed(arena: Arena, app: Milepost) -> None:
    """When its last message is acknowledged nothing depends on it any more."""
    with arena.worker() as worker:
        worker.wait_ready()
        run = app.start("relay", Trail()).wait(15)
        eventually(lambda: "'completed'" in worker.text(), 15, worker.text)
        worker.kill_group()
        worker.start().wait_ready()
        completes(arena, app, run)
        completes(arena, app, app.start("relay", Trail()))
