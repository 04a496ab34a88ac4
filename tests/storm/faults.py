"""What a storm does to a fleet."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import redis

from .fleet import Fleet


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault: when it was, and which processes it ended or held up."""

    kind: str
    at: float
    pids: frozenset[int] = field(default=frozenset())


class Faults:
    """Strikes by lot. A seed gives the same lots again; where processes are when they are met is chance."""

    def __init__(self, fleet: Fleet, random: Random) -> None:
        self._fleet = fleet
        self._random = random
        self._sleepers: list[threading.Timer] = []
        self._kinds: dict[Callable[[], frozenset[int]], int] = {
            self._kill_child: 30,
            self._kill_worker: 20,
            self._terminate_worker: 10,
            self._stop_child: 10,
            self._lose_messages: 8,
            self._repeat_messages: 8,
            self._restart_broker: 5,
            self._restart_store: 5,
            self._wipe_queues: 4,
        }

    def strike(self) -> Strike:
        """Let one fault happen."""
        [kind] = self._random.choices([*self._kinds], [*self._kinds.values()])
        at = time.time()
        return Strike(kind.__name__.strip("_").replace("_", " "), at, kind())

    def end(self) -> None:
        """Wake up who still sleeps."""
        for sleeper in self._sleepers:
            sleeper.join()

    def _kill_child(self) -> frozenset[int]:
        children = self._random.choice(self._fleet.workers).children
        if not children:
            return frozenset()
        victim = self._random.choice(sorted(children))
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        return frozenset({victim})

    def _kill_worker(self) -> frozenset[int]:
        worker = self._random.choice(self._fleet.workers)
        victims = frozenset({worker.pid, *worker.children})
        worker.kill_group()
        return victims

    def _terminate_worker(self) -> frozenset[int]:
        worker = self._random.choice(self._fleet.workers)
        if worker.exit_code is None:
            worker.terminate()
        return frozenset()

    def _stop_child(self) -> frozenset[int]:
        """A zombie: it wakes up when others have its runs, or just before."""
        children = self._random.choice(self._fleet.workers).children
        if not children:
            return frozenset()
        victim = self._random.choice(sorted(children))
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGSTOP)

        def wake() -> None:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGCONT)

        sleeper = threading.Timer(self._random.uniform(0.5, 5), wake)
        sleeper.start()
        self._sleepers = [one for one in self._sleepers if one.is_alive()] + [sleeper]
        return frozenset()

    def _lose_messages(self) -> frozenset[int]:
        with suppress(redis.RedisError), self._queues() as queues:
            queues.lpop("milepost", self._random.randint(1, 5))
        return frozenset()

    def _repeat_messages(self) -> frozenset[int]:
        with suppress(redis.RedisError), self._queues() as queues:
            messages: Any = queues.lrange("milepost", 0, self._random.randint(0, 4))
            for message in messages:
                queues.lpush("milepost", message)
        return frozenset()

    def _wipe_queues(self) -> frozenset[int]:
        with suppress(redis.RedisError), self._queues() as queues:
            queues.delete("milepost", "unacked", "unacked_index")
        return frozenset()

    def _restart_broker(self) -> frozenset[int]:
        return self._restart(self._fleet.broker)

    def _restart_store(self) -> frozenset[int]:
        return self._restart(self._fleet.store)

    def _restart(self, server: Any) -> frozenset[int]:
        server.kill()
        threading.Event().wait(self._random.uniform(0, 1))
        server.start()
        return frozenset()

    def _queues(self) -> redis.Redis:
        return redis.Redis.from_url(self._fleet.broker.url)
