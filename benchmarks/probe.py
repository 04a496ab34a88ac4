"""How stages and workers tell the driver the moment something happened, in database 15."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import redis
from celery.signals import worker_ready

from milepost.checkpointing.closing import Closing

DATABASE = 15
_probes: dict[int, Probe] = {}


class Probe(Closing):
    """Lists of moments, by the wall clock that all processes of this host share."""

    def __init__(self, url: str) -> None:
        self.client: redis.Redis = redis.Redis.from_url(
            f"{url.rpartition('/')[0]}/{DATABASE}", socket_timeout=None
        )

    def tell(self, event: str, **facts: Any) -> None:
        """Note that *event* happens now."""
        self.client.rpush(event, json.dumps({"at": time.time(), "pid": os.getpid(), **facts}))

    def hear(self, event: str, timeout_seconds: float) -> dict[str, Any]:
        """Return the next note of *event*.

        Raises:
            TimeoutError: There is none in time.
        """
        # redis-py types replies for its synchronous and asynchronous client at once.
        found: Any = self.client.blpop([event], timeout=max(0.01, timeout_seconds))
        if found is None:
            raise TimeoutError(f"no {event!r} in {timeout_seconds:.0f} s")
        note: dict[str, Any] = json.loads(found[1])
        return note

    def hear_all(self, event: str, count: int, timeout_seconds: float) -> list[dict[str, Any]]:
        """Return *count* notes of *event*; raises as `hear` does."""
        end = time.monotonic() + timeout_seconds
        return [self.hear(event, end - time.monotonic()) for _ in range(count)]

    def clear(self) -> None:
        """Forget all notes."""
        self.client.flushdb()

    def close(self) -> None:
        """Give back the connection."""
        self.client.close()


def probe() -> Probe:
    """Return this worker process's probe; a connection does not survive a fork."""
    pid = os.getpid()
    if pid not in _probes:
        _probes[pid] = Probe(os.environ["BENCH_URL"])
    return _probes[pid]


def announce_readiness() -> None:
    """Let the worker tell when it is ready."""

    def tell(**_: Any) -> None:
        probe().tell("ready")

    worker_ready.connect(tell, weak=False)
