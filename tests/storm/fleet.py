"""What a storm strikes: workers that are started again when they die, a broker and a run store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from uuid import uuid4

from milepost.tasks import Milepost
from support.ledger import Ledger
from support.processes import Worker
from support.redis_server import RedisServer
from support.s3_server import SeaweedServer, store_url

from .cargo import build

Places = Literal["one", "split", "s3"]
_WORKERS = 3
_CHILDREN = 2


class Fleet:
    """Three workers with two processes each.

    Args:
        places: Everything in ``one`` Redis; ``split``: the broker is another; ``s3``: so is the log.
        burst: The time slice of the pipeline in every second worker.
    """

    def __init__(self, folder: Path, places: Places, burst: str) -> None:
        self.folder = folder
        self.places = places
        self.store = RedisServer()
        self.broker = self.store if places == "one" else RedisServer()
        self.ledger = Ledger(folder / "ledger")
        self._bursts = [burst if number % 2 else "0s" for number in range(_WORKERS)]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for server in {self.store, self.broker}:
            self._stack.enter_context(server)
        self.env = {
            "MILEPOST_URL": self.broker.url,
            "MILEPOST_RUNS": self.store.url,
            "MILEPOST_HEARTBEAT_LAPSE_SECONDS": "2",
            "MILEPOST_PATIENCE_SECONDS": "1",
            "MILEPOST_RETENTION_SECONDS": "0",
            "MILEPOST_LOCK_DIRECTORY": str(self.folder),
            "STORM_LEDGER": str(self.ledger.path),
        }
        if self.places == "s3":
            bucket = self._stack.enter_context(SeaweedServer())
            self.env["MILEPOST_CHECKPOINTS"] = store_url(bucket.endpoint, uuid4().hex)
        self.workers = [
            Worker(
                "storm.cargo",
                self.folder,
                {**self.env, "STORM_BURST": burst},
                concurrency=_CHILDREN,
                name=f"ship{number}",
            )
            for number, burst in enumerate(self._bursts)
        ]
        for worker in self.workers:
            self._stack.enter_context(worker)
        for worker in self.workers:
            worker.wait_ready()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @contextmanager
    def app(self) -> Iterator[Milepost]:
        """The app, in this process."""
        app = build(self.env)
        try:
            yield app
        finally:
            app.close()
            app.celery.close()

    def restart_dead(self) -> None:
        """Do what a supervisor does."""
        for worker in self.workers:
            if worker.exit_code is not None:
                worker.kill_group()
                worker.start()
