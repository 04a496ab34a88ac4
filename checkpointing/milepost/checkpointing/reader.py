"""Reading checkpoints: the last, an earlier one, one by its id, all of a run."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any

from pydantic import TypeAdapter

from .blob import Blob
from .blob_streams import BlobReader
from .closing import Closing
from .errors import CheckpointError, Corrupt, Expired, NotFound
from .ids import told_by, valid_name
from .models import SNAPSHOTS, Checkpoint, CheckpointKey, CheckpointMetadata, Kind, Record
from .serializer import Serializer
from .settings import CheckpointSettings
from .stores import CheckpointStore, open_store
from .types import Types

logger = logging.getLogger("milepost.checkpointing")


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `CheckpointReader.recover` found, and what it had to pass over."""

    checkpoint: Checkpoint | None
    """None: there is nothing to go on from; begin afresh."""
    passed_over: tuple[CheckpointError, ...]
    """Why newer checkpoints cannot be used, newest first."""


class CheckpointReader(Closing):
    """Reads the checkpoints of runs in one store, and proves every byte of what it returns.

    Args:
        store: A store, or the URL of one.
        settings: Defaults to the ``MILEPOST_…`` variables.
        types: What states without a model may hold beside JSON; by default the built-in types.
    """

    def __init__(
        self,
        store: CheckpointStore | str,
        settings: CheckpointSettings | None = None,
        types: Types | None = None,
    ) -> None:
        settings = settings or CheckpointSettings()
        self.store = open_store(store, settings) if isinstance(store, str) else store
        self.blobs = open_store(settings.blobs, settings) if settings.blobs else self.store
        """Where pieces of large states are, and blobs."""
        self.serializer = Serializer(settings, types, self.blobs.get_all)

    def restore(
        self, run_id: str, *, state_type: Any = None, fall_back: bool = False
    ) -> Checkpoint | None:
        """Return the checkpoint the run would go on from; None if it has none.

        Args:
            state_type: Validate the state as this type, and return it as such.
            fall_back: Pass over damaged and expired checkpoints to the last that can be used; each is
                logged. `recover` returns them.

        Raises:
            Expired: The time to live of the last is over.
            Corrupt: The last one is damaged.
        """
        if fall_back:
            return self.recover(run_id, state_type=state_type, fresh=True).checkpoint
        valid_name(run_id)
        record = self.store.latest_of(run_id, SNAPSHOTS)
        return None if record is None else self._open(record, state_type)

    def recover(
        self,
        run_id: str,
        *,
        state_type: Any = None,
        earlier: bool = True,
        fresh: bool = False,
    ) -> Recovery:
        """Find the best to go on from: the last checkpoint, an earlier one, or a fresh start.

        Args:
            earlier: Whether an earlier one will do where the last cannot be used.
            fresh: Whether nothing will do, where none can be used.

        Raises:
            NotFound: The run has no checkpoint, and *fresh* is not allowed.
            CheckpointError: Why the last cannot be used, if neither is allowed to help.
        """
        passed_over: list[CheckpointError] = []
        for kind in SNAPSHOTS:
            for entry in self.store.entries(valid_name(run_id), kind):
                try:
                    checkpoint = self._open(self.store.get(entry.key), state_type)
                except (Corrupt, NotFound) as error:
                    logger.warning("Run %s: passed over: %s", run_id, error)
                    passed_over.append(error)
                    if earlier:
                        continue
                    break
                return Recovery(checkpoint, tuple(passed_over))
            if passed_over and not earlier:
                break
        if fresh:
            return Recovery(None, tuple(passed_over))
        raise passed_over[0] if passed_over else self.missing(run_id)

    def restore_from(
        self, checkpoint_id: str, run_id: str | None = None, *, state_type: Any = None
    ) -> Checkpoint:
        """Return the checkpoint with this `checkpoint_id`, however old, past damaged ones.

        Args:
            run_id: The run it belongs to; not needed for what a manager has created, whose ids tell.

        Raises:
            NotFound: There is no such checkpoint.
            Expired: Its time to live is over.
            Corrupt: It is damaged, or was not found among others that are.
        """
        return self.get(self.find(checkpoint_id, run_id), state_type=state_type)

    def get(self, key: CheckpointKey, *, state_type: Any = None) -> Checkpoint:
        """Return the checkpoint under *key*; raises as `restore_from` does."""
        return self._open(self.store.get(key), state_type)

    def open_blob(self, blob: Blob) -> io.BufferedReader:
        """Return a stream of a blob's bytes; what is in memory of it is a part of 4 MiB.

        Raises, when it is read:
            NotFound: Its run was removed.
            Corrupt: It is damaged.
        """
        return io.BufferedReader(BlobReader(self.blobs, self.serializer, blob))

    def list_checkpoints(
        self, run_id: str, *, limit: int | None = None
    ) -> list[CheckpointMetadata]:
        """Return the metadata of the run's checkpoints, newest first; bodies are not read.

        Raises:
            Corrupt: One is damaged; `inspect` lists it.
        """
        page_size = 100 if limit is None else max(1, min(100, limit))
        return [*islice(self._metadata(valid_name(run_id), page_size), limit)]

    def inspect(self, run_id: str) -> dict[CheckpointKey, CheckpointMetadata | CheckpointError]:
        """Prove every checkpoint of a run: its metadata, or what is wrong with it. Reads all bodies."""
        found: dict[CheckpointKey, CheckpointMetadata | CheckpointError] = {}
        for kind in SNAPSHOTS:
            for entry in self.store.entries(valid_name(run_id), kind):
                try:
                    found[entry.key] = self.get(entry.key).metadata
                except CheckpointError as error:
                    found[entry.key] = error
        return found

    def find(self, checkpoint_id: str, run_id: str | None) -> CheckpointKey:
        """Return the key of the checkpoint with this id.

        Raises:
            NotFound: There is none, or the id does not tell its run and none is given.
            Corrupt: It is damaged, or was not found among others that are.
        """
        told = told_by(checkpoint_id)
        if told is not None and run_id in (None, told[0]):
            key = CheckpointKey(valid_name(told[0]), told[2], told[1], Kind.MANUAL)
            found = self.serializer.metadata(key, self.store.get(key).header)
            if found.checkpoint_id == checkpoint_id:
                return key
            run_id = key.run_id
        if run_id is None:
            raise NotFound(f"The id {checkpoint_id!r} does not tell its run; name the run, too.")
        damaged: Corrupt | None = None
        for kind in SNAPSHOTS:
            for entry in self.store.entries(valid_name(run_id), kind):
                try:
                    metadata = self.serializer.metadata(entry.key, entry.header)
                except Corrupt as error:
                    damaged = error
                    continue
                if metadata.checkpoint_id == checkpoint_id:
                    return metadata.key
        raise damaged or NotFound(
            f"Run {run_id} has no checkpoint with id {checkpoint_id!r}.", run_id=run_id
        )

    def close(self) -> None:
        """Close the stores."""
        self.store.close()
        if self.blobs is not self.store:
            self.blobs.close()

    def missing(self, run_id: str) -> NotFound:
        """Return the error of a run that has no checkpoint."""
        return NotFound(f"Run {run_id} has no checkpoint in {self.store.location}.", run_id=run_id)

    def _open(self, record: Record, state_type: Any) -> Checkpoint:
        adapter = _adapter(state_type)
        checkpoint = self.serializer.decode(record, state_type=adapter)
        if checkpoint.metadata.is_expired:
            raise Expired(
                f"Checkpoint {record.key.path} of run {record.key.run_id} expired at "
                f"{checkpoint.metadata.expires_at:%Y-%m-%d %H:%M:%S} UTC.",
                key=record.key,
            )
        return checkpoint

    def _metadata(self, run_id: str, page_size: int) -> Iterator[CheckpointMetadata]:
        series = (
            (self.serializer.metadata(entry.key, entry.header) for entry in entries)
            for entries in [
                self.store.entries(run_id, kind, page_size=page_size) for kind in SNAPSHOTS
            ]
        )
        return merge(*series, key=lambda metadata: metadata.created_at, reverse=True)


def _adapter(state_type: Any) -> TypeAdapter[Any] | None:
    if state_type is None or isinstance(state_type, TypeAdapter):
        return state_type
    return TypeAdapter(state_type)
