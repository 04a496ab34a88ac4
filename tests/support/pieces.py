"""A store that counts, and states of a size that is cut into pieces."""

from __future__ import annotations

import random
from base64 import b64encode
from collections import Counter
from typing import Any

from milepost.checkpointing import (
    CheckpointConfig,
    CheckpointKey,
    CheckpointManager,
    CheckpointSettings,
    CheckpointStore,
    Record,
)
from milepost.checkpointing.stores.memory import MemoryCheckpointStore

SMALL = CheckpointSettings(blob_from_bytes=64 * 1024, compression="none")
KEYS = "old:" + b64encode(b"k" * 32).decode()
MIB = 1024 * 1024


class Watched(MemoryCheckpointStore):
    """Counts what is written and read, by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: Counter[str] = Counter()
        self.gets: Counter[str] = Counter()

    def put(self, record: Record) -> None:
        super().put(record)
        self.puts[record.key.kind] += 1

    def get(self, key: CheckpointKey) -> Record:
        self.gets[key.kind] += 1
        return super().get(key)

    def blobs(self, run_id: str = "run") -> dict[str, Record]:
        with self._lock:
            return {p: r for p, r in self._runs.get(run_id, {}).items() if p.startswith("blob/")}


def text(seed: int, size: int = MIB) -> str:
    return random.Random(seed).randbytes(size // 2).hex()


def manager(store: CheckpointStore, **config: Any) -> CheckpointManager:
    return CheckpointManager(store, SMALL, config=CheckpointConfig(**config))


def written() -> Watched:
    store = Watched()
    manager(store).create("run", {"rows": text(1)})
    return store
