"""Runs in a dict: for tests, simulations and programs that need no durability."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from secrets import token_hex
from typing import Any, TypeVar

from milepost.checkpointing import (
    AlreadyExists,
    CheckpointKey,
    CheckpointStore,
    Misconfigured,
    NotFound,
    Page,
    Record,
)
from milepost.checkpointing.stores.memory import MemoryCheckpointStore

from ..head import Head, RunStatus
from ..query import EVERY_RUN, RunQuery
from ..settings import TaskSettings
from .base import Push
from .book import Book, OwnerEntry
from .bookkeeper import Bookkeeper
from .listing import ErrorGroup, cursor_at, position
from .registry import ASIDE_KEPT, NOTES_OF_ALL, Note, is_about

T = TypeVar("T")


def system_clock() -> int:
    """Return the time in milliseconds."""
    return time.time_ns() // 1_000_000


class MemoryRunStore(Bookkeeper):
    """Keeps runs as long as the object lives.

    Args:
        log: The checkpoint store that commits are written to; by default one of its own.
        clock: Tells the time in milliseconds; a simulation gives its own.
        on_push: Gets queue key and payload of each message; by default they are kept in `pushed`.
            It is called while the store is locked, so it must not wait for another thread that
            calls the store.
    """

    def __init__(
        self,
        settings: TaskSettings | None = None,
        log: MemoryCheckpointStore | None = None,
        clock: Callable[[], int] = system_clock,
        on_push: Callable[[str, str], object] | None = None,
    ) -> None:
        super().__init__(settings)
        self.pushed: list[tuple[str, str]] = []
        self._on_push = on_push or (lambda queue, payload: self.pushed.append((queue, payload)))
        self._clock = clock
        self._lock = threading.RLock()
        self.log = MemoryCheckpointStore(self._datetime) if log is None else log
        """The checkpoint store that commits are written to."""
        self._book = _MemoryBook(clock, self.log)
        self._flows: dict[tuple[str, int], int] = {}
        self._identity = token_hex(8)
        self._entries: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._notes: deque[Note] = deque(maxlen=NOTES_OF_ALL)
        self._aside: deque[dict[str, str]] = deque(maxlen=ASIDE_KEPT)

    @property
    def location(self) -> str:
        return "memory://"

    def identity(self) -> str:
        return self._identity

    def holds_log(self, log: CheckpointStore) -> bool:
        return log is self.log

    def work(self, work: Callable[[Book], T], run_id: str | None = None) -> T:
        with self._lock:
            self._book.now = self._clock()
            return work(self._book)

    def push(self, push: Push) -> None:
        self._on_push(push.queue_key, push.payload)

    def note_flow(self, queue: str, priority: int, published_at: int) -> None:
        with self._lock:
            flow = (queue, priority)
            self._flows[flow] = max(published_at, self._flows.get(flow, 0))

    def flows(self) -> dict[tuple[str, int], int]:
        with self._lock:
            return dict(self._flows)

    def find(
        self, query: RunQuery = EVERY_RUN, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Head]:
        try:
            after = None if cursor is None else position(cursor)
        except ValueError:
            raise Misconfigured("The cursor is none that a listing of runs has given.") from None
        heads = sorted(self._heads(), key=lambda h: (h.created_at, h.run_id), reverse=True)
        found = [
            head
            for head in heads
            if query.matches(head) and (after is None or (head.created_at, head.run_id) < after)
        ]
        page = tuple(found[:limit])
        return Page(page, cursor_at(page[-1]) if len(found) > limit else None)

    def oldest(self, status: RunStatus, limit: int = 100) -> list[Head]:
        heads = sorted(self._heads(), key=lambda head: (head.created_at, head.run_id))
        return [head for head in heads if head.status is status][:limit]

    def counts(self) -> dict[tuple[str, RunStatus], int]:
        return dict(Counter((head.pipeline, head.status) for head in self._heads()))

    def groups(self, limit: int = 100) -> list[ErrorGroup]:
        failed: defaultdict[str, list[Head]] = defaultdict(list)
        for head in sorted(self._heads(), key=lambda head: head.finished_at):
            if head.status is RunStatus.FAILED:
                failed[head.error_group].append(head)
        groups = [
            ErrorGroup(group, len(heads), heads[0].finished_at, heads[-1].finished_at, heads[-1])
            for group, heads in failed.items()
        ]
        return sorted(groups, key=lambda group: group.last_at, reverse=True)[:limit]

    def oldest_due(self) -> int | None:
        with self._lock:
            return self._book.oldest_due

    def struggling(self, limit: int = 100) -> list[Head]:
        worst = [h for h in self._heads() if h.crashes + h.suspicions and not h.status.ended]
        return sorted(worst, key=lambda h: h.crashes + h.suspicions, reverse=True)[:limit]

    def _heads(self) -> list[Head]:
        with self._lock:
            return [*self._book.heads.values()]

    def keep(self, kind: str, name: str, value: str | None) -> None:
        with self._lock:
            self._entries[kind].pop(name, None)
            if value is not None:
                self._entries[kind][name] = value

    def keep_first(self, kind: str, name: str, value: str) -> str:
        with self._lock:
            return self._entries[kind].setdefault(name, value)

    def kept(self, kind: str) -> dict[str, str]:
        with self._lock:
            return dict(self._entries[kind])

    def kept_one(self, kind: str, name: str) -> str | None:
        return self.kept(kind).get(name)

    def now(self) -> int:
        return self._clock()

    def last_look(self) -> int | None:
        return self._book.last_look

    def note(self, *notes: Note) -> None:
        with self._lock:
            self._notes.extendleft(replace(note, at=self._clock()) for note in notes)

    def notes(self, run_id: str | None = None, limit: int = 100) -> list[Note]:
        with self._lock:
            if run_id is None:
                return [*islice(self._notes, limit)]
            head = self._book.heads.get(run_id)
            return [*islice((n for n in self._notes if head and is_about(n, head)), limit)]

    def put_aside(self, reason: str, message: str) -> None:
        at = f"{self._clock() / 1000:.3f}"
        with self._lock:
            self._aside.appendleft({"reason": reason, "message": message, "at": at})

    def aside(self, limit: int = 100) -> list[dict[str, str]]:
        with self._lock:
            return [dict(entry) for entry in [*self._aside][:limit]]

    def _datetime(self) -> datetime:
        return datetime.fromtimestamp(self._clock() / 1000, UTC)


class _MemoryBook(Book):
    """Dicts; the store's lock makes a piece of work whole, and nothing in it fails half-way."""

    def __init__(self, clock: Callable[[], int], log: MemoryCheckpointStore) -> None:
        self.now = clock()
        self.heads: dict[str, Head] = {}
        self._log = log
        self._due: dict[str, int] = {}
        self._held: defaultdict[str, set[str]] = defaultdict(set)
        self._owners: dict[str, OwnerEntry] = {}
        self._trials: dict[str, str] = {}
        self.last_look: int | None = None
        self._last_created = 0

    def new_created_at(self) -> int:
        # Microseconds that no other run has, so that listings have one order.
        self._last_created = max(self.now * 1000, self._last_created + 1)
        return self._last_created

    def get(self, run_id: str) -> Head | None:
        return self.heads.get(run_id)

    peek = get

    def add(self, head: Head) -> bool:
        return self.heads.setdefault(head.run_id, head) is head

    def change(self, run_id: str, **changes: Any) -> Head:
        before = self.heads[run_id]
        head = replace(before, updated_at=self.now, **changes)
        if before.owner != head.owner:
            self._held[before.owner].discard(run_id)
            self._held[head.owner].add(run_id)
        self.heads[run_id] = head
        return head

    def remove(self, run_id: str) -> None:
        self.heads.pop(run_id, None)
        self._due.pop(run_id, None)

    def look_at(self, run_id: str, at: int | None) -> None:
        if at is None:
            self._due.pop(run_id, None)
        else:
            self._due[run_id] = at

    @property
    def oldest_due(self) -> int | None:
        """When the run has to be looked at that has to be first."""
        return min(self._due.values(), default=None)

    def due_at(self, run_id: str) -> int | None:
        return self._due.get(run_id)

    def due(self, limit: int) -> list[Head]:
        ready = [run_id for run_id, at in self._due.items() if at <= self.now]
        ready = sorted(ready, key=lambda run_id: (self._due[run_id], run_id))[:limit]
        return [self.heads[run_id] for run_id in ready]

    def held_by(self, owner: str) -> list[Head]:
        return [self.heads[run_id] for run_id in sorted(self._held[owner] & self.heads.keys())]

    def owner(self, name: str, *, to_change: bool = False) -> OwnerEntry | None:
        return self._owners.get(name)

    def owners(self) -> dict[str, OwnerEntry]:
        return dict(self._owners)

    def keep_owner(self, name: str, entry: OwnerEntry) -> None:
        self._owners[name] = entry

    def extend_owner(self, name: str, until: int) -> None:
        entry = self._owners.get(name, OwnerEntry(0))
        self._owners[name] = replace(entry, until=max(until, entry.until))

    def drop_owner(self, name: str) -> None:
        self._owners.pop(name, None)
        self._held.pop(name, None)

    def trial_of(self, host: str) -> str:
        return self._trials.get(host, "")

    def set_trial(self, host: str, run_id: str) -> None:
        self._trials[host] = run_id

    def looked(self) -> int | None:
        looked, self.last_look = self.last_look, self.now
        return looked

    def read_log(self, key: CheckpointKey) -> Record | None:
        with suppress(NotFound):
            return self._log.get(key)
        return None

    def write_log(self, record: Record) -> bool:
        try:
            self._log.put(record)
        except AlreadyExists:
            return False
        return True

    def expire_log(self, run_id: str, at: datetime | None) -> None:
        self._log.expire_run(run_id, at)

    def delete_log(self, run_id: str) -> None:
        self._log.delete_run(run_id)
