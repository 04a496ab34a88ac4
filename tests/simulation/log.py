"""The log of the simulated world, which tells the witness what it takes and loses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost.checkpointing import CheckpointKey, Record
from milepost.checkpointing.stores.memory import MemoryCheckpointStore

if TYPE_CHECKING:
    from .world import World


class WatchedLog(MemoryCheckpointStore):
    """The memory store, watched."""

    def __init__(self, world: World) -> None:
        super().__init__(world.clock.store_datetime)
        self._world = world

    def put(self, record: Record) -> None:
        super().put(record)
        self._world.witness.put(record)

    def delete(self, key: CheckpointKey) -> bool:
        existed = super().delete(key)
        self._world.witness.removed(key.run_id, key.path)
        return existed

    def _forget(self, run_id: str) -> None:
        super()._forget(run_id)
        self._world.witness.removed(run_id)
