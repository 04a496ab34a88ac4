"""Which checkpoints are kept, and how much they take."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .config import CheckpointConfig
from .envelope import CodecId, check_body, open_header
from .errors import Corrupt, MissingKey, NotFound, UnknownFormat, Unprotected
from .manifest import Manifest, Piece
from .models import SNAPSHOTS, CheckpointKey, CheckpointMetadata, Kind, Record
from .serializer import Serializer, piece_key
from .stores import CheckpointStore, Entry

logger = logging.getLogger("milepost.checkpointing")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run, or a store, takes."""

    checkpoints: int
    bytes: int
    """Of headers and bodies as they are stored, without what the store itself needs."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.checkpoints + other.checkpoints, self.bytes + other.bytes)


class Retention:
    """Removes what is not to be kept of the checkpoints that people and programs make."""

    def __init__(
        self,
        store: CheckpointStore,
        blobs: CheckpointStore,
        serializer: Serializer,
        config: CheckpointConfig,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._serializer = serializer
        self._config = config

    def make_room(self, written: CheckpointKey, *, whole_before: int) -> int:
        """Remove what one new checkpoint pushes out, in one request; return how many that were.

        By arithmetic: numbers are given in a row, so the one that falls out is known without listing. It is
        read first, unless it is known to be whole: so many before this one are.
        """
        limit = self._config.max_checkpoints_per_run
        if limit is None:
            return 0
        if self._config.keep_branches:
            return self.prune(written.run_id)
        if written.sequence < limit:
            return 0
        oldest = written._replace(sequence=written.sequence - limit)
        return int(self._store.delete(oldest) if whole_before > limit else self.delete(oldest))

    def delete(self, key: CheckpointKey, last: CheckpointKey | None = None) -> bool:
        """Remove one checkpoint, and the pieces of it that no other has; False if there was none.

        Args:
            last: Do so only while this one is there, which came after it.
        """
        try:
            record = self._store.get(key)
        except NotFound:
            return False
        return self.remove(record, last)

    def remove(self, record: Record, last: CheckpointKey | None = None) -> bool:
        """Do what `delete` does.

        Dying in here leaves pieces that nothing refers to until the run is removed.
        """
        existed = self._remove(self._store, record.key, last)
        if last is not None and not existed:
            return False
        try:
            pieces = self._pieces(record)
            needed = self._needed(record.key) if pieces else frozenset()
        except (MissingKey, Unprotected, UnknownFormat) as error:
            logger.warning("Run %s: its pieces are left: %s", record.key.run_id, error)
            return existed
        for piece in (pieces or frozenset()) - needed:
            behind = last if self._blobs is self._store else None
            self._remove(self._blobs, piece_key(record.key.run_id, piece), behind)
        return existed

    def thin(self, last: CheckpointKey, keep: int, *, wholly: bool) -> int:
        """Remove commits of the engine's before *last*, so that *keep* are left; return how many that were.

        None, once the store went back behind *last*: what is old by that may be what the run goes on from.

        Args:
            wholly: All that are over the number, not only the one that falls out of the row.
        """
        if not wholly:
            return int(
                last.sequence >= keep
                and self.delete(last._replace(sequence=last.sequence - keep), last)
            )
        entries = [*self._store.entries(last.run_id, last.kind, last.lane)]
        return sum(self._delete(entry, last) for entry in entries[keep:])

    def manifest(self, entry: Entry) -> Manifest | None:
        """Return which pieces a checkpoint consists of; None if it is whole, or that cannot be told."""
        try:
            if open_header(entry.header).codec is CodecId.MANIFEST:
                return self._serializer.manifest(self._store.get(entry.key))
        except (Corrupt, MissingKey, NotFound, Unprotected) as error:
            logger.warning("Run %s: its pieces are not known: %s", entry.key.run_id, error)
        return None

    def _pieces(self, record: Record | Entry) -> frozenset[Piece] | None:
        """Return the pieces a checkpoint consists of, none if it is whole; None: it is damaged.

        Raises:
            MissingKey, Unprotected, UnknownFormat: It cannot be read here.
        """
        try:
            if open_header(record.header).codec is not CodecId.MANIFEST:
                return frozenset()
            whole = record if isinstance(record, Record) else self._store.get(record.key)
            manifest = self._serializer.manifest(whole)
        except (MissingKey, Unprotected, UnknownFormat):
            raise
        except (Corrupt, NotFound):
            return None
        return frozenset(manifest.pieces) if manifest else frozenset()

    def _needed(self, removed: CheckpointKey) -> frozenset[Piece]:
        """Return the pieces that others may share with a checkpoint that was removed.

        Of those that people and programs make, that is told by the next before and after it that is not
        damaged. Commits of another timeline may go on from it over the heads of abandoned ones: there, all.
        """
        earlier: list[Entry] = []
        later: list[Entry] = []
        for entry in self._store.entries(removed.run_id, removed.kind, removed.lane):
            (earlier if entry.key.path < removed.path else later).append(entry)
        needed: frozenset[Piece] = frozenset()
        for row in (earlier, later[::-1]):
            for entry in row:
                pieces = self._pieces(entry)
                needed |= pieces or frozenset()
                if pieces is not None and removed.kind is Kind.MANUAL:
                    break
        return needed

    def prune(self, run_id: str) -> int:
        """Remove all of a run's that is over a limit; return how many that were.

        Its newest sound one is spared, whatever its age.
        """
        now, removed, kept, spared = datetime.now(UTC), 0, 0, False
        limit, age = self._config.max_checkpoints_per_run, self._config.max_age_seconds
        continued: set[str | None] = set()
        for entry in self._store.entries(run_id, Kind.MANUAL):
            try:
                metadata = self._serializer.metadata(entry.key, entry.header)
            except Corrupt:
                continue  # Evidence; `delete_run` removes it.
            is_tip = metadata.checkpoint_id not in continued
            continued.add(metadata.parent)
            expired = metadata.expires_at is not None and metadata.expires_at <= now
            old = age is not None and metadata.created_at < now - timedelta(seconds=age)
            over = limit is not None and kept >= limit
            if expired:
                removed += self._delete(entry)
            elif not spared:
                # Until a sound one is found nothing goes: what is damaged may still be of use to somebody.
                spared = self._is_sound(entry.key)
                kept += spared
            elif (old or over) and not (self._config.keep_branches and is_tip):
                removed += self._delete(entry)
            else:
                kept += 1
        return removed

    def cleanup(self) -> int:
        """Prune every run of the store and return how many checkpoints were removed.

        Reads the headers of all. What goes wrong with one run is logged and does not keep the others.
        """
        removed, cursor = 0, None
        while True:
            page = self._store.runs(cursor=cursor)
            for run_id in page.items:
                try:
                    removed += self.prune(run_id)
                except Exception:
                    logger.exception("Run %s could not be cleaned up.", run_id)
            if (cursor := page.cursor) is None:
                return removed

    def keep_only(self, final: CheckpointMetadata) -> int:
        """Remove all that people and programs made of a run but one; return how many that were."""
        return sum(
            self._delete(entry)
            for entry in [*self._store.entries(final.run_id, Kind.MANUAL)]
            if entry.key != final.key
        )

    def usage(self, run_id: str) -> Usage:
        """Return what a run takes, the engine's commits included."""
        sizes: list[int] = []
        pieces: set[Piece] = set()
        for kind in SNAPSHOTS:
            for entry in self._store.entries(run_id, kind):
                sizes.append(len(entry.header) + entry.body_bytes)
                pieces.update(getattr(self.manifest(entry), "pieces", ()))
        return Usage(len(sizes), sum(sizes) + sum(piece.stored_bytes for piece in pieces))

    def total_usage(self) -> Usage:
        """Return what all runs of the store take; reads all headers."""
        total, cursor = Usage(0, 0), None
        while True:
            page = self._store.runs(cursor=cursor)
            for run_id in page.items:
                total += self.usage(run_id)
            if (cursor := page.cursor) is None:
                return total

    def _delete(self, entry: Entry, last: CheckpointKey | None = None) -> bool:
        try:
            whole = open_header(entry.header).codec is not CodecId.MANIFEST
        except Corrupt:
            whole = True
        if not whole:
            return self.delete(entry.key, last)
        return self._remove(self._store, entry.key, last)

    @staticmethod
    def _remove(store: CheckpointStore, key: CheckpointKey, last: CheckpointKey | None) -> bool:
        return store.delete(key) if last is None else store.delete_behind(key, last)

    def _is_sound(self, key: CheckpointKey) -> bool:
        """Whether the bytes are those that were written; what they say may need a key or a class."""
        try:
            record = self._store.get(key)
            check_body(open_header(record.header), record.body)
            pieces = [piece_key(key.run_id, piece) for piece in self._pieces(record) or ()]
            for piece in self._blobs.get_all(pieces):
                check_body(open_header(piece.header), piece.body)
        except (MissingKey, Unprotected, UnknownFormat):
            return True
        except (Corrupt, NotFound):
            return False
        return True
