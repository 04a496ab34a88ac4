"""What a Redis answers when it cannot do what it is asked: waited for, or said at once, by its name."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
import redis

from milepost.checkpointing import CheckpointSettings, Unavailable
from milepost.checkpointing.stores.redis import RedisCheckpointStore
from milepost.checkpointing.testing import make_record
from milepost.tasks import Milepost, RunStatus, TaskSettings
from support.redis_server import RedisServer
from support.waiting import eventually

FAST = CheckpointSettings(store_timeout_seconds=1, store_retries=0)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer("--busy-reply-threshold", "50") as server:
        yield server


@pytest.mark.fault("F28")
def test_a_full_redis_keeps_a_finished_stage_waiting(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is evicted; the stage has run once, and is committed when there is room."""
    settings = TaskSettings(store_retries=0, commit_patience_seconds=30)
    ran: list[str] = []
    app = Milepost(server.url, settings=settings)
    with closing(app), redis.Redis.from_url(server.url) as admin:

        @app.pipeline("line").stage
        def fill(state: dict[str, Any]) -> dict[str, Any]:
            ran.append("fill")
            admin.config_set("maxmemory", "1")
            return {**state, "done": True}

        run = app.start("line", {})
        step = threading.Thread(target=app.runtime.engine.execute, args=("line", run.head.step))
        step.start()
        eventually(lambda: "Trying again in" in caplog.text, 15)
        assert (run.status, ran) == (RunStatus.RUNNING, ["fill"])
        admin.config_set("maxmemory", "0")
        step.join(20)

        assert (run.status, ran) == (RunStatus.COMPLETED, ["fill"])
        assert run.state == {"done": True}
        app.celery.close()


@pytest.mark.fault("F30")
def test_a_redis_busy_with_a_script(server: RedisServer) -> None:
    """Somebody's endless loop: it is waited for, and the write is made when it has been ended."""

    def loop() -> None:
        with redis.Redis.from_url(server.url) as client, suppress(redis.RedisError):
            client.eval("while true do end", 0)

    with RedisCheckpointStore(server.url, FAST) as store, redis.Redis.from_url(server.url) as admin:
        store.put(make_record("run"))
        busy = threading.Thread(target=loop)
        busy.start()

        def is_busy() -> bool:
            try:
                admin.ping()
            except redis.ResponseError as error:
                return "BUSY" in str(error)
            return False

        eventually(is_busy)
        with pytest.raises(Unavailable, match="BUSY"):
            store.put(make_record("run", 1))
        admin.script_kill()
        busy.join(10)
        store.put(make_record("run", 1))
        assert store.latest("run") == make_record("run", 1)


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that says one thing whatever it is asked; a real one says it for too short a time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                while not over.is_set() and connection.recv(65536):
                    connection.sendall(answer)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        over.set()


@pytest.mark.fault("F30")
@pytest.mark.parametrize(
    "answer",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        b"-CLUSTERDOWN Hash slot not served\r\n",
        b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    ],
    ids=lambda answer: answer.split()[0].decode(),
)
def test_a_redis_that_is_not_ready_is_unavailable(answer: bytes) -> None:
    with answering(answer) as url, RedisCheckpointStore(url, FAST) as store:
        with pytest.raises(Unavailable):
            store.put(make_record("run"))
        with pytest.raises(Unavailable):
            store.latest("run")
