"""Runs in a dict: for tests, simulations and programs that need no durability."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

from milepost.checkpointing import AlreadyExists, CheckpointStore, NotFound, Page, Record
from milepost.checkpointing.stores.memory import MemoryCheckpointStore

from ..head import Head, RunStatus, Step
from ..settings import TaskSettings
from .base import Advance, Bid, Cause, Claim, Commit, Look, Push, Refusal, RunStore
from .memory_claims import LEASE_MS, MemoryHeads

_MOVABLE = frozenset({RunStatus.FAILED, RunStatus.PAUSED, RunStatus.SCHEDULED, RunStatus.RUNNING})
_DELETABLE = frozenset(
    {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.PAUSED}
)


def system_clock() -> int:
    """Return the time in milliseconds."""
    return time.time_ns() // 1_000_000


class MemoryRunStore(RunStore):
    """Keeps runs as long as the object lives; does operation for operation what the Lua files do.

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
        settings = settings or TaskSettings()
        self.pushed: list[tuple[str, str]] = []
        self._on_push = on_push or (lambda queue, payload: self.pushed.append((queue, payload)))
        self._clock = clock
        self._lock = threading.RLock()
        self._heads = MemoryHeads(settings, clock)
        self._log = log if log is not None else MemoryCheckpointStore(self._datetime)
        self._ttl_ms = int(settings.retention_seconds * 1000)
        self._patience_ms = int(settings.patience_seconds * 1000)
        self._identity = token_hex(8)
        self._last_created = 0
        self._aside: deque[dict[str, str]] = deque(maxlen=1000)

    @property
    def location(self) -> str:
        return "memory://"

    @property
    def log(self) -> MemoryCheckpointStore:
        """The checkpoint store that commits are written to."""
        return self._log

    def identity(self) -> str:
        return self._identity

    def holds_log(self, log: CheckpointStore) -> bool:
        return log is self._log

    def create(
        self, head: Head, *, record: Record | None, push: Push | None, delay_ms: int = 0
    ) -> Head | None:
        with self._lock:
            stands = self._heads.get(head.run_id)
            if stands is not None:
                return stands
            self._put(record)
            # Microseconds that no other run has, so that listings have one order.
            self._last_created = max(self._clock() * 1000, self._last_created + 1)
            self._heads.add(replace(head, created_at=self._last_created))
            if delay_ms > 0:
                self._heads.change(head.run_id, status=RunStatus.SCHEDULED, published_at=0)
                self._heads.due[head.run_id] = self._clock() + delay_ms
            else:
                self._enqueue(head.run_id, push)
        return None

    def claim(self, step: Step, bid: Bid) -> Claim | Refusal:
        with self._lock:
            head = self._heads.claim(step, bid)
            if isinstance(head, Refusal):
                return head
            record = None
            if head.at:
                with suppress(NotFound):
                    record = self._log.get(head.key)
            return Claim(head, bid.nonce, record)

    def advance(self, claim: Claim, commit: Commit) -> Advance:
        run_id = claim.head.run_id
        with self._lock:
            head = self._heads.get(run_id)
            if head is not None and head.checkpoint_id == commit.checkpoint_id:
                return Advance.ADVANCED
            if head is None or not _holds(head, claim):
                return Advance.FENCED
            try:
                self._put(commit.record)
            except AlreadyExists:
                return Advance.OCCUPIED
            self._heads.unclaim(run_id)
            following = commit.following
            due: dict[str, Any] = {"stage": "", "queue": ""}
            if following is not None:
                due = {
                    "stage": following.stage,
                    "queue": following.queue,
                    "priority": following.priority,
                    "time_limit_ms": following.time_limit_ms,
                    "patience_ms": self._patience_ms,
                }
            self._heads.change(
                run_id,
                checkpoint_id=commit.checkpoint_id,
                at=commit.path,
                sequence=commit.sequence,
                timeline=commit.timeline,
                stages_done=head.stages_done + 1,
                attempt=0,
                failures=0,
                crashes=0,
                suspicions=0,
                trial=0,
                error="",
                **due,
            )
            if following is not None:
                self._enqueue(run_id, commit.push)
            else:
                self._heads.change(run_id, status=commit.status, finished_at=self._clock())
                self._retain(run_id)
        return Advance.ADVANCED

    def fail(self, claim: Claim, error: str, delay_ms: int | None) -> bool:
        run_id = claim.head.run_id
        with self._lock:
            head = self._heads.get(run_id)
            if head is None or not _holds(head, claim):
                return head is not None and head.last_nonce == claim.nonce
            self._heads.change(run_id, failures=head.failures + 1, last_nonce=claim.nonce)
            if delay_ms is None:
                self._heads.set_aside(run_id, error)
                return True
            self._heads.unclaim(run_id)
            if head.pause:
                self._heads.change(run_id, status=RunStatus.PAUSED, error=error)
                self._heads.due.pop(run_id, None)
            else:
                self._heads.change(run_id, status=RunStatus.SCHEDULED, error=error, published_at=0)
                self._heads.due[run_id] = self._clock() + delay_ms
        return True

    def hand_back(self, claim: Claim, push: Push | None) -> bool:
        run_id = claim.head.run_id
        with self._lock:
            head = self._heads.get(run_id)
            if head is None or not _holds(head, claim):
                return head is not None and head.last_nonce == claim.nonce
            self._heads.unclaim(run_id)
            self._heads.change(run_id, last_cause="leaving", last_nonce=claim.nonce)
            self._enqueue(run_id, push)
        return True

    def divert(self, claim: Claim) -> int | None:
        with self._lock:
            head = self._heads.get(claim.head.run_id)
            if head is None or not _holds(head, claim):
                return None
            return self._heads.change(head.run_id, timeline=head.timeline + 1).timeline

    def beat(self, owner: str, held: Collection[str], as_of: int, *, leaving: bool) -> set[str]:
        with self._lock:
            return self._heads.beat(owner, set(held), as_of, leaving)

    def bury(self, owner: str, cause: Cause) -> list[str]:
        with self._lock:
            return self._heads.bury(owner, cause)

    def look(self, limit: int = 100) -> Look:
        with self._lock:
            heads = self._heads.look(limit)
            return Look(tuple(heads), dict(self._heads.flow))

    def requeue(self, head: Head, *, push: Push | None, published: bool, patience_ms: int) -> bool:
        with self._lock:
            now = self._heads.get(head.run_id)
            expected = (RunStatus.QUEUED, head.timeline, head.sequence, head.published_at)
            if (
                now is None
                or (now.status, now.timeline, now.sequence, now.published_at) != expected
            ):
                return False
            self._push(push)
            self._heads.change(
                head.run_id,
                published_at=self._clock() if published else head.published_at,
                patience_ms=patience_ms,
            )
            self._heads.due[head.run_id] = self._clock() + patience_ms
        return True

    def pause(self, run_id: str) -> RunStatus | None:
        with self._lock:
            head = self._heads.get(run_id)
            if head is None:
                return None
            if head.status in (RunStatus.QUEUED, RunStatus.SCHEDULED):
                self._heads.due.pop(run_id, None)
                return self._heads.change(run_id, status=RunStatus.PAUSED, pause=1).status
            if head.status is RunStatus.RUNNING:
                self._heads.change(run_id, pause=1)
            return head.status

    def resume(self, head: Head) -> bool:
        expected = head.status
        with self._lock:
            now = self._heads.get(head.run_id)
            if now is None or expected not in _MOVABLE or now.sequence != head.sequence:
                return False
            waiting = now.status is RunStatus.QUEUED and not now.published_at
            if waiting and expected is not RunStatus.RUNNING:
                return now.timeline == head.timeline + (expected is RunStatus.FAILED)
            if now.status is not expected or now.timeline != head.timeline:
                return False
            if expected is RunStatus.FAILED:
                self._heads.change(
                    now.run_id,
                    timeline=now.timeline + 1,
                    token=now.token + 1,
                    attempt=0,
                    failures=0,
                    crashes=0,
                    suspicions=0,
                    trial=0,
                    finished_at=0,
                )
            self._heads.change(now.run_id, pause=0)
            if expected is not RunStatus.RUNNING:
                self._heads.enqueue(now.run_id, 0, self._clock())
        return True

    def intend(self, run_id: str, checkpoint_id: str) -> RunStatus | None:
        done = (RunStatus.COMPLETED, RunStatus.CANCELLED, RunStatus.CANCELLING)
        with self._lock:
            head = self._heads.get(run_id)
            if head is None or head.status in done:
                return head.status if head is not None else None
            self._heads.unclaim(run_id)
            self._heads.change(
                run_id,
                status=RunStatus.CANCELLING,
                timeline=head.timeline + 1,
                token=head.token + 1,
                intent=checkpoint_id,
            )
            self._heads.due[run_id] = self._clock() + LEASE_MS
            return head.status

    def settle(self, head: Head, *, path: str, sequence: int, record: Record | None) -> bool:
        with self._lock:
            now = self._heads.get(head.run_id)
            if now is None:
                return False
            if now.status is RunStatus.CANCELLED and now.checkpoint_id == head.intent:
                return True
            if now.status is not RunStatus.CANCELLING or now.intent != head.intent:
                return False
            with suppress(AlreadyExists):
                self._put(record)
            self._heads.change(
                head.run_id,
                status=RunStatus.CANCELLED,
                intent="",
                checkpoint_id=head.intent,
                at=path,
                sequence=sequence,
                stage="",
                finished_at=self._clock(),
            )
            self._retain(head.run_id)
        return True

    def delete(self, run_id: str) -> RunStatus | None:
        with self._lock:
            head = self._heads.get(run_id)
            if head is not None and head.status not in _DELETABLE:
                return head.status
            self._heads.forget(run_id)
            self._log.delete_run(run_id)
        return None

    def get(self, run_id: str) -> Head | None:
        with self._lock:
            return self._heads.get(run_id)

    def find(
        self,
        *,
        status: RunStatus | None = None,
        pipeline: str | None = None,
        tag: str | None = None,
        since_ms: int | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Head]:
        with self._lock:
            heads = sorted(self._heads.all(), key=lambda head: head.created_at, reverse=True)
        found = [
            head
            for head in heads
            if (status is None or head.status is status)
            and (pipeline is None or head.pipeline == pipeline)
            and (tag is None or tag in head.tags)
            and (since_ms is None or head.created_at >= since_ms * 1000)
            and (cursor is None or head.created_at < int(cursor))
        ]
        page = tuple(found[:limit])
        return Page(page, str(page[-1].created_at) if len(found) > limit else None)

    def put_aside(self, reason: str, message: str) -> None:
        at = f"{self._clock() / 1000:.3f}"
        with self._lock:
            self._aside.appendleft({"reason": reason, "message": message, "at": at})

    def aside(self, limit: int = 100) -> list[dict[str, str]]:
        with self._lock:
            return [dict(entry) for entry in [*self._aside][:limit]]

    def _enqueue(self, run_id: str, push: Push | None) -> None:
        """Let the stage due wait, with *push* on its queue unless the run is to pause here."""
        head = self._heads.get(run_id)
        pushed = head is not None and not head.pause and self._push(push)
        now = self._clock()
        self._heads.enqueue(run_id, now if pushed else 0, now + self._patience_ms)

    def _push(self, push: Push | None) -> bool:
        if push is not None:
            self._on_push(push.queue_key, push.payload)
        return push is not None

    def _put(self, record: Record | None) -> None:
        if record is not None:
            self._log.put(record)

    def _retain(self, run_id: str) -> None:
        """Keep a run that has ended for the time of the settings, with its log."""
        now = self._clock()
        if self._ttl_ms > 0:
            self._heads.due[run_id] = now + self._ttl_ms
            until = datetime.fromtimestamp((now + self._ttl_ms) / 1000, UTC)
            self._log.expire_run(run_id, until)
        else:
            self._heads.due.pop(run_id, None)
            self._log.expire_run(run_id, None)

    def _datetime(self) -> datetime:
        return datetime.fromtimestamp(self._clock() / 1000, UTC)


def _holds(head: Head, claim: Claim) -> bool:
    return bool(claim.nonce) and (head.token, head.nonce) == (claim.token, claim.nonce)
