"""Which checkpoints are kept, and how much they take."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .config import CheckpointConfig
from .envelope import check_body, open_header
from .errors import Corrupt, NotFound, UnknownFormat
from .models import SNAPSHOTS, CheckpointKey, CheckpointMetadata, Kind
from .serializer import Serializer
from .stores import CheckpointStore

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
        self, store: CheckpointStore, serializer: Serializer, config: CheckpointConfig
    ) -> None:
        self._store = store
        self._serializer = serializer
        self._config = config

    def make_room(self, written: CheckpointKey) -> int:
        """Remove what one new checkpoint pushes out, in one request; return how many that were.

        By arithmetic: numbers are given in a row, so the one that falls out is known without listing.
        """
        limit = self._config.max_checkpoints_per_run
        if limit is None:
            return 0
        if self._config.keep_branches:
            return self.prune(written.run_id)
        if written.sequence < limit:
            return 0
        return int(self._store.delete(written._replace(sequence=written.sequence - limit)))

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
                removed += self._store.delete(entry.key)
            elif not spared:
                # Until a sound one is found nothing goes: what is damaged may still be of use to somebody.
                spared = self._is_sound(entry.key)
                kept += spared
            elif (old or over) and not (self._config.keep_branches and is_tip):
                removed += self._store.delete(entry.key)
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
            self._store.delete(entry.key)
            for entry in [*self._store.entries(final.run_id, Kind.MANUAL)]
            if entry.key != final.key
        )

    def usage(self, run_id: str) -> Usage:
        """Return what a run takes, the engine's commits included."""
        sizes = [
            len(entry.header) + entry.body_bytes
            for kind in SNAPSHOTS
            for entry in self._store.entries(run_id, kind)
        ]
        return Usage(len(sizes), sum(sizes))

    def total_usage(self) -> Usage:
        """Return what all runs of the store take; reads all headers."""
        total, cursor = Usage(0, 0), None
        while True:
            page = self._store.runs(cursor=cursor)
            for run_id in page.items:
                total += self.usage(run_id)
            if (cursor := page.cursor) is None:
                return total

    def _is_sound(self, key: CheckpointKey) -> bool:
        """Whether the bytes are those that were written; what they say may need a key or a class."""
        try:
            record = self._store.get(key)
            check_body(open_header(record.header), record.body)
        except UnknownFormat:
            return True
        except (Corrupt, NotFound):
            return False
        return True
