"""Checkpoints in a dict: for tests and for programs that need no durability."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, datetime

from ..errors import AlreadyExists, NotFound
from ..models import MAIN_LANE, CheckpointKey, Kind, Record
from ..page import Page
from ..settings import CheckpointSettings
from .base import CheckpointStore, Entry


class MemoryCheckpointStore(CheckpointStore):
    """Keeps records as long as the object lives.

    Args:
        clock: Tells the time by which runs expire.
    """

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._runs: dict[str, dict[str, Record]] = {}
        self._expiry: dict[str, datetime] = {}

    @property
    def location(self) -> str:
        return "memory://"

    def put(self, record: Record) -> None:
        key = record.key
        record = Record(key, record.header, record.body)
        with self._lock:
            self._drop_if_expired(key.run_id)
            stands = self._runs.setdefault(key.run_id, {}).setdefault(key.path, record)
        if stands != record:
            raise AlreadyExists(f"{key.path} of run {key.run_id} is taken.", key=key)

    def get(self, key: CheckpointKey) -> Record:
        with self._lock:
            record = self._live(key.run_id).get(key.path)
        if record is None:
            raise NotFound(f"Run {key.run_id} has no checkpoint {key.path}.", key=key)
        return record

    def latest(self, run_id: str, kind: Kind = Kind.COMMIT, lane: str = MAIN_LANE) -> Record | None:
        with self._lock:
            records = self._live(run_id)
            paths = [path for path in records if path.startswith(f"{kind}/{lane}/")]
            return records[max(paths)] if paths else None

    def history(
        self,
        run_id: str,
        kind: Kind = Kind.COMMIT,
        lane: str = MAIN_LANE,
        *,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Entry]:
        with self._lock:
            records = self._live(run_id)
            paths = sorted(path for path in records if path.startswith(f"{kind}/{lane}/"))
            end = len(paths) if cursor is None else bisect_left(paths, cursor)
            chosen = [records[path] for path in reversed(paths[max(0, end - limit) : end])]
        entries = tuple(Entry(r.key, r.header, len(r.body)) for r in chosen)
        return Page(entries, chosen[-1].key.path if end > limit else None)

    def runs(self, *, cursor: str | None = None, limit: int = 100) -> Page[str]:
        with self._lock:
            names = sorted(run for run in list(self._runs) if self._live(run))
        rest = names[bisect_left(names, cursor + "\0") :] if cursor is not None else names
        return Page(tuple(rest[:limit]), rest[limit - 1] if len(rest) > limit else None)

    def delete(self, key: CheckpointKey) -> bool:
        with self._lock:
            records = self._live(key.run_id)
            existed = records.pop(key.path, None) is not None
            if not records:
                self._forget(key.run_id)
            return existed

    def delete_behind(self, key: CheckpointKey, last: CheckpointKey) -> bool:
        with self._lock:
            return last.path in self._live(last.run_id) and self.delete(key)

    def delete_run(self, run_id: str) -> int:
        with self._lock:
            count = len(self._live(run_id))
            self._forget(run_id)
            return count

    def expires_at(self, run_id: str) -> datetime | None:
        with self._lock:
            self._drop_if_expired(run_id)
            return self._expiry.get(run_id)

    def expire_run(self, run_id: str, at: datetime | None) -> None:
        with self._lock:
            records = self._live(run_id)
            if at is None:
                self._expiry.pop(run_id, None)
            elif records:
                self._expiry[run_id] = at

    def _live(self, run_id: str) -> dict[str, Record]:
        self._drop_if_expired(run_id)
        return self._runs.get(run_id, {})

    def _drop_if_expired(self, run_id: str) -> None:
        at = self._expiry.get(run_id)
        if at is not None and at <= self._clock():
            self._forget(run_id)

    def _forget(self, run_id: str) -> None:
        self._runs.pop(run_id, None)
        self._expiry.pop(run_id, None)


def open_memory(url: str, settings: CheckpointSettings | None = None) -> MemoryCheckpointStore:
    """Return a store of its own for each call."""
    return MemoryCheckpointStore()
