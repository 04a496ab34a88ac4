"""Processes that die in the midst of what is not a step: a start, a look over all runs, a clearing up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from milepost.checkpointing import CheckpointConfig, CheckpointManager
from milepost.tasks import Milepost, RunStatus, TaskSettings
from support.processes import IMPORTS
from support.waiting import eventually

RUNS = 12


def build(url: str) -> Milepost:
    """Runs in database 0, messages in database 1: no script writes both."""
    broker = url.removesuffix("0") + "1"
    app = Milepost(broker, runs=url, settings=TaskSettings(patience_seconds=1.0))
    app.pipeline("line").stage(name="go")(lambda state: state)
    return app


@pytest.fixture
def broker(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url.removesuffix("0") + "1") as client:
        client.flushdb()
        yield client


@pytest.fixture
def app(redis_url: str, broker: redis.Redis) -> Iterator[Milepost]:
    with closing(build(redis_url)) as app:
        yield app
    app.celery.close()


HEAD = """
import os, sys
from milepost.checkpointing import CheckpointConfig, CheckpointManager
from integration.test_half_done import build

def after(calls, real=None):
    left = [calls]
    def die(*args, **options):
        left[0] -= 1
        if left[0] < 0:
            os._exit(9)
        return real(*args, **options)
    return die
"""


def dies(script: str, *words: str) -> None:
    """Run a script that ends as a killed process does: at once, with nothing cleaned up."""
    env = {**os.environ, "PYTHONPATH": IMPORTS}
    command = [sys.executable, "-c", HEAD + script, *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 9, done.stderr


@pytest.mark.parametrize(
    ("at", "sent"),
    [
        pytest.param("dispatch.publish", 0, marks=pytest.mark.fault("F1")),
        pytest.param("runs.requeue", 1, marks=pytest.mark.fault("F2")),
    ],
)
def test_a_client_dies_in_a_start(
    app: Milepost, broker: redis.Redis, redis_url: str, at: str, sent: int
) -> None:
    """Between record and message, or between the message and the note of it: at most one is too many."""
    owner, name = at.split(".")
    dies(
        f"app = build(sys.argv[1]); setattr(app.runtime.{owner}, {name!r}, after(0))\n"
        "app.start('line', {'n': 1}, run_id='mine')\n",
        redis_url,
    )
    run = app.run("mine")
    assert (run.status, run.head.published_at) == (RunStatus.QUEUED, 0)
    assert broker.llen("milepost") == sent

    assert app.start("line", {"n": 1}, run_id="mine").id == run.id
    eventually(lambda: app.runtime.reconciler.look() and run.head.published_at)

    assert broker.llen("milepost") == sent + 1
    answers = [app.runtime.engine.execute("line", run.head.step) for _ in range(sent + 1)]
    assert answers == ["completed", "finished"][: sent + 1]
    assert len(run.checkpoints()) == 2


@pytest.mark.fault("F2")
def test_the_reply_to_a_start_is_lost(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has done it; the client asks again, and gets the run that stands."""
    lost: list[str] = []
    read: Any = redis.Connection.read_response
    send: Any = redis.Connection.send_packed_command

    def sends(self: Any, command: Any, *args: Any, **options: Any) -> None:
        packed = b"".join(command) if isinstance(command, list) else command
        self.is_start = b"EVALSHA" in packed and b"mine" in packed
        send(self, command, *args, **options)

    def reads(self: Any, *args: Any, **options: Any) -> Any:
        reply = read(self, *args, **options)
        if getattr(self, "is_start", False) and len(lost) < 1:
            lost.append("reply")
            self.disconnect()
            raise redis.ConnectionError("Connection reset by peer")
        return reply

    with closing(Milepost(redis_url)) as app, redis.Redis.from_url(redis_url) as client:
        app.pipeline("line").stage(name="go")(lambda state: state)
        app.start("line", {}, run_id="before")
        client.delete("milepost")
        with monkeypatch.context() as patch:
            patch.setattr(redis.Connection, "send_packed_command", sends)
            patch.setattr(redis.Connection, "read_response", reads)
            run = app.start("line", {"n": 1}, run_id="mine")

        assert lost
        assert client.llen("milepost") == 1
        assert run.status is RunStatus.QUEUED
        assert len(run.checkpoints()) == 1
        app.celery.close()


@pytest.mark.fault("F16")
def test_a_reconciler_dies_in_a_sweep(
    app: Milepost, broker: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one, of whatever process, finishes it; no run has more than one message too many."""
    with monkeypatch.context() as patch:
        # As when the client dies, or the broker is away.
        patch.setattr(app.runtime.dispatch, "publish", lambda head: False)
        runs = [app.start("line", {"n": n}, run_id=f"r{n}") for n in range(RUNS)]
    dies(
        "from support.waiting import eventually\n"
        "app = build(sys.argv[1])\n"
        "app.runtime.dispatch.publish = after(3, app.runtime.dispatch.publish)\n"
        "eventually(app.runtime.reconciler.look, 20)\n"
        "while True: app.runtime.reconciler.look()\n",
        redis_url,
    )
    assert broker.llen("milepost") == 3

    def all_there() -> bool:
        app.runtime.reconciler.look()
        payloads: Any = broker.lrange("milepost", 0, -1)
        found = [sum(f'"{run.id}"'.encode() in text for text in payloads) for run in runs]
        assert max(found) <= 2
        return min(found) >= 1

    eventually(all_there, 20)


@pytest.mark.fault("F16")
@pytest.mark.parametrize("deletions", [0, 1, 7])
def test_a_clearing_up_dies_in_the_midst(tmp_path: Path, deletions: int) -> None:
    """The newest is never removed, though it is too old as well, and the next one finishes."""
    url = f"file://{tmp_path}/log"
    with CheckpointManager(url) as manager:
        for number in range(20):
            manager.create("job", number)
    dies(
        "manager = CheckpointManager(sys.argv[1], "
        "config=CheckpointConfig(max_age_seconds=0.001))\n"
        "manager.store.delete = after(int(sys.argv[2]), manager.store.delete)\n"
        "manager.prune('job')\n",
        url,
        str(deletions),
    )
    config = CheckpointConfig(max_age_seconds=0.001)
    with CheckpointManager(url, config=config) as manager:
        assert len(manager.list_checkpoints("job")) == 20 - deletions
        assert manager.restore("job").state == 19  # type: ignore[union-attr]
        assert manager.prune("job") == 19 - deletions
        assert manager.restore("job").state == 19  # type: ignore[union-attr]
