"""One Redis, one app and any number of workers of it: what a module of fault tests shares."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from acceptance.pipelines import build
from milepost.tasks import Milepost
from support.checker import Checker
from support.ledger import Ledger
from support.processes import Pool, Worker
from support.redis_server import RedisServer
from support.waiting import eventually

APP = "acceptance.worker_app"


class Trap:
    """Where a fault in a worker and the test meet."""

    def __init__(self, folder: Path, point: str, stage: str, action: str) -> None:
        self._folder = folder
        folder.mkdir()
        os.mkfifo(folder / "breath")
        self.env = {
            "FAULT_POINT": point,
            "FAULT_STAGE": stage,
            "FAULT_ACTION": action,
            "FAULT_FOLDER": str(folder),
        }

    def wait_reached(self, deadline_s: float = 15.0) -> int:
        """Wait until the fault's point is reached, and return the pid of the process there."""
        eventually((self._folder / "reached").exists, deadline_s, "the point of the fault")
        return int((self._folder / "reached").read_text())

    def release(self) -> None:
        """Let the process that waits, or holds its interpreter, go on."""
        (self._folder / "continue").touch()
        breath = os.open(self._folder / "breath", os.O_RDWR)
        os.write(breath, b".")
        os.close(breath)


class Arena:
    """Settings are short, so that what has to lapse lapses in seconds.

    Args:
        split: Keep runs in database 0, messages in database 1.
        env: More variables for all workers and the app.
    """

    def __init__(
        self, folder: Path, *, split: bool = False, env: Mapping[str, str] | None = None
    ) -> None:
        self.server = RedisServer()
        self.folder = folder
        self.ledger = Ledger(folder / "ledger")
        self.antidote = folder / "antidote"
        broker = f"{self.server.url.removesuffix('0')}{int(split)}"
        self.env = {
            "MILEPOST_URL": broker,
            "MILEPOST_HEARTBEAT_LAPSE_SECONDS": "2",
            "MILEPOST_PATIENCE_SECONDS": "1",
            "MILEPOST_RETENTION_SECONDS": "0",
            "MILEPOST_LOCK_DIRECTORY": str(folder),
            "TEST_LEDGER": str(self.ledger.path),
            "TEST_ANTIDOTE": str(self.antidote),
            **({"MILEPOST_RUNS": self.server.url} if split else {}),
            **(env or {}),
        }
        self._broker_url = broker
        self._names = count(1)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.server)
        self.runs = redis.Redis.from_url(self.server.url)
        self.broker = redis.Redis.from_url(self._broker_url)
        self._stack.callback(self.runs.close)
        self._stack.callback(self.broker.close)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @contextmanager
    def app(self, queue: str = "milepost") -> Iterator[Milepost]:
        """Build the app for this process; runs it starts begin on *queue*."""
        app = build({**self.env, "TEST_QUEUE": queue})
        try:
            yield app
        finally:
            app.close()
            app.celery.close()

    def worker(
        self, pool: Pool = "prefork", concurrency: int = 1, env: Mapping[str, str] | None = None
    ) -> Worker:
        """Return a worker that is not started yet; its context ends it by force."""
        name = f"{pool}{next(self._names)}"
        return Worker(
            APP,
            self.folder,
            {**self.env, **(env or {})},
            pool=pool,
            concurrency=concurrency,
            name=name,
        )

    def trap(self, point: str, stage: str = "second", action: str = "wait") -> Trap:
        """Return a trap; its `env` arms a worker."""
        return Trap(self.folder / f"trap{next(self._names)}", point, stage, action)

    def checker(self, app: Milepost) -> Checker:
        """Return the judge of the runs of *app*."""
        return Checker(app, self.ledger, self.runs, self.broker)


class Rescuer:
    """A worker that outlives the victims and is told when to take over their queue.

    Each victim has a queue of its own until then; so the fault is met by the victim and no other.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def take_over(self, app: Milepost, queue: str) -> None:
        """Consume *queue* from now on."""
        add = app.celery.control.add_consumer
        # Asking twice is harmless, and a reply is not promised.
        replies: Any = eventually(
            lambda: add(queue, destination=[self.worker.name], reply=True, timeout=2),
            20,
            "a reply to add_consumer",
        )
        assert "ok" in replies[0][self.worker.name], replies
