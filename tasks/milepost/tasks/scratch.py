"""What a stage that still runs writes to the log beside the commits: progress, and results of its journal."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from secrets import randbelow
from typing import TYPE_CHECKING, Any
from zlib import crc32

from milepost.checkpointing import (
    AlreadyExists,
    Checkpoint,
    CheckpointError,
    CheckpointKey,
    CheckpointMetadata,
    Kind,
    NotFound,
    Record,
    Refused,
    Unavailable,
)
from milepost.checkpointing.ids import valid_name

from .errors import ClaimLost, StoreFailed
from .patience import Patience
from .runs import Claim

if TYPE_CHECKING:
    from .runtime import Runtime

logger = logging.getLogger("milepost")


class Scratch:
    """One try's. All of it belongs to the checkpoint the stage works on, whatever try wrote it.

    Args:
        guard: Raises `ClaimLost` if another worker may hold the run.
        patiently: Repeats a call while a store is away.
        keep_spent: Notes that what was spent until now is not spent again by another try.
        announce: Told how far the stage has come each time that is saved.
    """

    def __init__(
        self,
        runtime: Runtime,
        claim: Claim,
        guard: Callable[[], None],
        patiently: Patience,
        keep_spent: Callable[[], None],
        announce: Callable[[int, int | None], None],
    ) -> None:
        self._runtime = runtime
        self._log = runtime.checkpoints.store
        self._serializer = runtime.checkpoints.serializer
        self._claim = claim
        self._guard = guard
        self._patiently = patiently
        self._keep_spent = keep_spent
        self._announce = announce
        # Not from 0: if the run store was lost, an earlier try may have had the same token.
        self._saves = randbelow(1 << 31)
        self._stands = claim.head.progress_at

    def saved(self) -> Any:
        """Return the progress of earlier tries; None if there is none, or it cannot be used."""
        head = self._claim.head
        if not head.progress_at:
            return None
        try:
            key = CheckpointKey.from_path(head.run_id, head.progress_at)
            found = self._serializer.decode(self._log.get(key))
        except Unavailable:
            raise
        except CheckpointError as error:
            logger.warning("Run %s: stage %s begins anew: %s", head.run_id, head.stage, error)
            return None
        belongs = (head.checkpoint_id, head.stage) == (found.metadata.parent, found.metadata.stage)
        return found.state if belongs else None

    def save(self, content: Any, done: int, total: int | None) -> None:
        """Keep progress, under a key that no other try can have; the claim is proven as it is noted.

        A store that is away does not stop the stage: it goes on without.
        """
        head = self._claim.head
        key = CheckpointKey(head.run_id, self._saves, self._claim.token, Kind.PROGRESS, head.lane)
        record = self._serializer.encode(Checkpoint(metadata=self._metadata(key), state=content))
        self._saves += 1
        try:
            self._guard()
            if not self._runtime.log_in_runs:
                self._log.put(record)
            noted = self._runtime.runs.save(
                self._claim,
                path=key.path,
                progress=json.dumps([done, total]),
                record=record if self._runtime.log_in_runs else None,
            )
            if not noted:
                self._drop(key.path)
                raise ClaimLost(f"Run {head.run_id} was given to another worker.")
            before, self._stands = self._stands, key.path
            self._drop(before)
        except (Unavailable, Refused) as error:
            logger.warning("Run %s: progress could not be saved: %s", head.run_id, error)
        self._announce(done, total)

    def once(self, name: str, work: Callable[[], Any]) -> Any:
        """Return what *work* returned the first time, in whatever try that was; call it if there was none.

        Raises:
            NotSerializable: Its result cannot be kept. It was done, and will be done again.
        """
        metadata = self._metadata(self._place(name))
        with self._store_failures():
            stands, metadata = self._standing(metadata)
        if stands is not None:
            return stands.state
        result = work()
        record = self._serializer.encode(Checkpoint(metadata=metadata, state=result))
        with self._store_failures():
            # It is done: forgetting it now would have it done again.
            try:
                self._patiently(self._put_guarded, record)
            except AlreadyExists:
                # Whoever had the claim before was slow, not dead: what it wrote first stands.
                record = self._log.get(record.key)
            self._keep_spent()
            return self._serializer.decode(record).state

    def _put_guarded(self, record: Record) -> None:
        self._guard()
        self._log.put(record)

    def _standing(
        self, metadata: CheckpointMetadata
    ) -> tuple[Checkpoint | None, CheckpointMetadata]:
        """Return the entry of the journal that *metadata* has the place of, if there is one."""
        while True:
            stands = self._patiently(self._noted, metadata.key)
            if stands is None or stands.metadata.parent == metadata.parent:
                return stands, metadata
            # Another checkpoint's journal has the place, by chance.
            metadata = metadata.model_copy(update={"sequence": metadata.sequence + 1})

    @contextmanager
    def _store_failures(self) -> Iterator[None]:
        """Keep what a store does from being taken for the stage's own failure."""
        try:
            yield
        except (Unavailable, Refused) as error:
            raise StoreFailed(error) from error

    def tidy(self) -> None:
        """Remove the progress of a stage that was committed."""
        self._drop(self._stands)

    def _place(self, name: str) -> CheckpointKey:
        head = self._claim.head
        number = crc32(f"{head.checkpoint_id} {head.stage}".encode())
        return CheckpointKey(head.run_id, 0, number, Kind.JOURNAL, valid_name(name, "name"))

    def _noted(self, key: CheckpointKey) -> Checkpoint | None:
        with suppress(NotFound):
            return self._serializer.decode(self._log.get(key))
        return None

    def _metadata(self, key: CheckpointKey) -> CheckpointMetadata:
        head = self._claim.head
        return CheckpointMetadata(
            run_id=key.run_id,
            sequence=key.sequence,
            timeline=key.timeline,
            kind=key.kind,
            lane=key.lane,
            parent=head.checkpoint_id,
            stage=head.stage,
            attempt=max(1, head.attempt),
            token=self._claim.token,
            pipeline=head.pipeline,
            pipeline_version=head.version,
            worker=head.worker or None,
        )

    def _drop(self, path: str) -> None:
        if path:
            with suppress(CheckpointError):
                self._log.delete(CheckpointKey.from_path(self._claim.head.run_id, path))
