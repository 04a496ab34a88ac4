"""Writing a 1 KB checkpoint to Redis, as a ratio to a SET of the same bytes, interleaved."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import redis

from milepost.checkpointing import (
    Checkpoint,
    CheckpointManager,
    CheckpointMetadata,
    Kind,
    Serializer,
)
from milepost.checkpointing.stores.redis import RedisCheckpointStore

from .finding import Finding, finding
from .state import make_state

NAME = "checkpoint"
GOAL = 2.0
_REPEATS = 5
_SAMPLES = 200
_KEPT = (10, 1_000)
_WARM_UP = 20


def measure(url: str, folder: Path, repeats: int | None) -> list[Finding]:
    """Measure at few and at many checkpoints kept."""
    return [row for kept in _KEPT for row in _measure(url, kept, repeats or _REPEATS)]


def _measure(url: str, kept: int, repeats: int) -> list[Finding]:
    with redis.Redis.from_url(url) as client, RedisCheckpointStore(url) as store:
        client.flushall()
        bench = _Bench(client, store, f"bench-{kept}", kept)
        medians = [bench.medians() for _ in range(repeats)]
    return [
        finding(
            NAME,
            f"{name} / SET of its bytes, {kept:,} kept: p50",
            "×",
            [round_[name] / round_["set"] for round_ in medians],
            at_most=GOAL,
            note="{:.3f} against {:.3f} ms, {} bytes".format(
                *(statistics.median(r[key] for r in medians) * 1000 for key in (name, "set")),
                bench.size_bytes,
            ),
        )
        for name in ("Serializer + store.put", "CheckpointManager.create")
    ]


class _Bench:
    """A run with *kept* checkpoints in each series, to which each call adds one and drops the first."""

    def __init__(
        self, client: redis.Redis, store: RedisCheckpointStore, run_id: str, kept: int
    ) -> None:
        self._client, self._store, self._run_id, self._kept = client, store, run_id, kept
        self._serializer = Serializer()
        self._manager = CheckpointManager(store)
        self._state = make_state()
        record = self._serializer.encode(self._next(0))
        self._raw = record.header + record.body
        self.size_bytes = len(self._raw)
        self._calls: dict[str, Callable[[int], None]] = {
            "set": self._set,
            "Serializer + store.put": self._put,
            "CheckpointManager.create": self._create,
        }
        self._sequence = 0
        for _ in range(kept):
            for call in self._calls.values():
                call(self._sequence)
            self._sequence += 1
        self._sample(_WARM_UP)

    def medians(self) -> dict[str, float]:
        """Return the median seconds of each call over one round of samples."""
        return {name: statistics.median(taken) for name, taken in self._sample(_SAMPLES).items()}

    def _sample(self, count: int) -> dict[str, list[float]]:
        taken: dict[str, list[float]] = {name: [] for name in self._calls}
        names = [*self._calls]
        for _ in range(count):
            random.shuffle(names)
            for name in names:
                began = time.perf_counter()
                self._calls[name](self._sequence)
                taken[name].append(time.perf_counter() - began)
            oldest = self._next(self._sequence - self._kept).metadata.key
            self._store.delete(oldest)
            self._store.delete(oldest._replace(kind=Kind.MANUAL))
            self._client.delete(self._set_key(self._sequence - self._kept))
            self._sequence += 1
        return taken

    def _set(self, sequence: int) -> None:
        self._client.set(self._set_key(sequence), self._raw)

    def _put(self, sequence: int) -> None:
        self._store.put(self._serializer.encode(self._next(sequence)))

    def _create(self, sequence: int) -> None:
        self._manager.create(self._run_id, self._state, step_name="stage")

    def _next(self, sequence: int) -> Checkpoint:
        metadata = CheckpointMetadata(run_id=self._run_id, sequence=sequence, stage="stage")
        return Checkpoint(metadata=metadata, state=self._state)

    def _set_key(self, sequence: int) -> str:
        return f"raw:{self._run_id}:{sequence}"
