"""Writing records with their pieces, and blobs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from .blob_streams import BlobWriter
from .errors import AlreadyExists, NotFound
from .models import Record
from .reader import CheckpointReader


class CheckpointWriter(CheckpointReader):
    """What `CheckpointManager` and the engine of pipelines write with."""

    def put(self, record: Record) -> None:
        """Write a record with its pieces; raises as `CheckpointStore.put` does.

        Dying between them leaves pieces that nothing refers to until the run is removed.
        """
        self.put_pieces(record)
        try:
            self.store.put(record)
        except AlreadyExists:
            self.drop_pieces(record)
            raise

    def put_pieces(self, record: Record) -> None:
        """Write what has to stand before *record* does."""
        if record.pieces:
            self.blobs.put_all(record.pieces)

    def drop_pieces(self, record: Record) -> None:
        """Remove what was written for *record*, if it does not stand; it never will.

        It may, where a reply was lost and the repeated write found that others have gone on from it.
        """
        if not record.pieces:
            return
        with suppress(NotFound):
            if self.store.get(record.key).header == record.header:
                return
        for piece in record.pieces:
            self.blobs.delete(piece.key)

    def write_blob(
        self, run_id: str, name: str, guard: Callable[[], None] = lambda: None
    ) -> BlobWriter:
        """Return a writer of data too large for a state; use it in a ``with`` block.

        Args:
            guard: Raises if nothing may be written any more; asked before each part.

        Raises:
            InvalidName: *run_id* or *name* breaks the rule for names.
        """
        return BlobWriter(self.blobs, self.serializer, run_id, name, guard)

    def delete_blobs(self, run_id: str) -> int:
        """Remove what a run has in a store for blobs alone, if there is one; return how many records."""
        return 0 if self.blobs is self.store else self.blobs.delete_run(run_id)

    def expire_blobs(self, run_id: str, seconds: float | None) -> None:
        """Let what a run has in a store for blobs alone be gone after so long; None: never."""
        if self.blobs is not self.store:
            at = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
            self.blobs.expire_run(run_id, at)
