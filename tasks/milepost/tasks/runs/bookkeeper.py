"""A run store that decides in Python what the Lua files decide in Redis, over any kind of `Book`."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from milepost.checkpointing import AlreadyExists, Record, Unavailable

from ..head import Head, RunStatus, Step
from ..settings import TaskSettings
from .base import Advance, Bid, Cause, Claim, Commit, Look, Push, Refusal, RunStore
from .book import Book
from .claims import LEASE_MS, Claims

_MOVABLE = frozenset({RunStatus.FAILED, RunStatus.PAUSED, RunStatus.SCHEDULED, RunStatus.RUNNING})
_DELETABLE = frozenset(
    {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.PAUSED}
)
_BURIALS_A_LOOK = 10
logger = logging.getLogger("milepost")
T = TypeVar("T")


class Bookkeeper(RunStore):
    """Operations on runs, each one piece of work on a book."""

    def __init__(self, settings: TaskSettings | None = None) -> None:
        self.settings = settings or TaskSettings()
        self._ttl_ms = int(self.settings.retention_seconds * 1000)
        self._patience_ms = int(self.settings.patience_seconds * 1000)

    @abstractmethod
    def work(self, work: Callable[[Book], T], run_id: str | None = None) -> T:
        """Do *work* on a book as a whole, as often as it takes; return what it returned last."""

    @abstractmethod
    def push(self, push: Push) -> None:
        """Put a message on its queue, as part of the work."""

    @abstractmethod
    def note_flow(self, queue: str, priority: int, published_at: int) -> None:
        """Note that a message published then was claimed."""

    @abstractmethod
    def flows(self) -> dict[tuple[str, int], int]:
        """Return the newest publication claimed, by queue and priority."""

    def create(
        self, head: Head, *, record: Record | None, push: Push | None, delay_ms: int = 0
    ) -> Head | None:
        def create(book: Book) -> Head | None:
            stands = book.peek(head.run_id)
            if stands is not None:
                return stands
            written = record is None or book.write_log(record)
            new = replace(head, created_at=book.new_created_at())
            if not written or not book.add(new):
                stands = book.peek(head.run_id)
                if stands is not None:
                    return stands
                raise AlreadyExists(
                    f"The log of run {head.run_id} exists though the run does not; delete its "
                    "checkpoints or take another run id.",
                    run_id=head.run_id,
                )
            if delay_ms > 0:
                book.change(head.run_id, status=RunStatus.SCHEDULED, published_at=0)
                book.look_at(head.run_id, book.now + delay_ms)
            else:
                self._enqueue(book, head, push)
            return None

        return self.work(create, head.run_id)

    def claim(self, step: Step, bid: Bid) -> Claim | Refusal:
        def claim(book: Book) -> Claim | Refusal:
            head = self._claims(book).claim(step, bid)
            if isinstance(head, Refusal):
                return head
            return Claim(head, bid.nonce, book.read_log(head.key) if head.at else None)

        claim_or_not = self.work(claim, step.run_id)
        if isinstance(claim_or_not, Claim) and claim_or_not.head.published_at:
            head = claim_or_not.head
            self.note_flow(head.queue, head.priority, head.published_at)
        return claim_or_not

    def advance(self, claim: Claim, commit: Commit) -> Advance:
        run_id, following = claim.head.run_id, commit.following
        due: dict[str, Any] = {"stage": "", "queue": ""}
        if following is not None:
            due = {
                "stage": following.stage,
                "queue": following.queue,
                "priority": following.priority,
                "time_limit_ms": following.time_limit_ms,
                "patience_ms": self._patience_ms,
            }

        def advance(book: Book) -> Advance:
            head = book.get(run_id)
            if head is not None and head.checkpoint_id == commit.checkpoint_id:
                return Advance.ADVANCED
            if head is None or not _holds(head, claim):
                return Advance.FENCED
            if commit.record is not None and not book.write_log(commit.record):
                return Advance.OCCUPIED
            self._claims(book).unclaim(head)
            head = book.change(
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
                progress_at="",
                progress="",
                **due,
            )
            if following is not None:
                self._enqueue(book, head, commit.push)
            else:
                book.change(run_id, status=commit.status, finished_at=book.now)
                self._retain(book, run_id)
            return Advance.ADVANCED

        return self.work(advance, run_id)

    def save(self, claim: Claim, *, path: str, progress: str, record: Record | None) -> bool:
        def save(book: Book) -> bool:
            head = book.get(claim.head.run_id)
            if head is None or not _holds(head, claim):
                return False
            if record is not None:
                book.write_log(record)
            book.change(head.run_id, progress_at=path, progress=progress)
            return True

        return self.work(save, claim.head.run_id)

    def fail(self, claim: Claim, error: str, delay_ms: int | None) -> bool:
        def fail(book: Book) -> bool:
            head = book.get(claim.head.run_id)
            if head is None or not _holds(head, claim):
                return head is not None and head.last_nonce == claim.nonce
            claims = self._claims(book)
            head = book.change(head.run_id, failures=head.failures + 1, last_nonce=claim.nonce)
            if delay_ms is None:
                claims.set_aside(head, error)
                return True
            head = claims.unclaim(head)
            if head.pause:
                book.change(head.run_id, status=RunStatus.PAUSED, error=error)
                book.look_at(head.run_id, None)
            else:
                book.change(head.run_id, status=RunStatus.SCHEDULED, error=error, published_at=0)
                book.look_at(head.run_id, book.now + delay_ms)
            return True

        return self.work(fail, claim.head.run_id)

    def hand_back(self, claim: Claim, push: Push | None) -> bool:
        def hand_back(book: Book) -> bool:
            head = book.get(claim.head.run_id)
            if head is None or not _holds(head, claim):
                return head is not None and head.last_nonce == claim.nonce
            self._claims(book).unclaim(head)
            head = book.change(head.run_id, last_cause="leaving", last_nonce=claim.nonce)
            self._enqueue(book, head, push)
            return True

        return self.work(hand_back, claim.head.run_id)

    def divert(self, claim: Claim) -> int | None:
        def divert(book: Book) -> int | None:
            head = book.get(claim.head.run_id)
            if head is None or not _holds(head, claim):
                return None
            return book.change(head.run_id, timeline=head.timeline + 1).timeline

        return self.work(divert, claim.head.run_id)

    def beat(self, owner: str, held: Collection[str], as_of: int, *, leaving: bool) -> set[str]:
        return self.work(lambda book: self._claims(book).beat(owner, {*held}, as_of, leaving))

    def bury(self, owner: str, cause: Cause) -> list[str]:
        return self.work(lambda book: self._claims(book).bury(owner, cause))

    def look(self, limit: int = 100) -> Look:
        for owner in self.work(lambda book: self._claims(book).silent(_BURIALS_A_LOOK)):
            try:
                self.work(partial(self._bury_silent, owner))
            except Unavailable as error:
                # Somebody sits on what it held; that must not keep others from being looked after.
                logger.warning("Owner %s could not be buried yet: %s", owner, error)

        def decide(book: Book) -> list[Head]:
            claims = self._claims(book)
            return [head for due in book.due(limit) if (head := claims.decide(due)) is not None]

        return Look(tuple(self.work(decide)), self.flows())

    def requeue(self, head: Head, *, push: Push | None, published: bool, patience_ms: int) -> bool:
        expected = (RunStatus.QUEUED, head.timeline, head.sequence, head.published_at)

        def requeue(book: Book) -> bool:
            now = book.get(head.run_id)
            if (
                now is None
                or (now.status, now.timeline, now.sequence, now.published_at) != expected
            ):
                return False
            if push is not None:
                self.push(push)
            published_at = book.now if published else head.published_at
            book.change(head.run_id, published_at=published_at, patience_ms=patience_ms)
            book.look_at(head.run_id, book.now + patience_ms)
            return True

        return self.work(requeue, head.run_id)

    def pause(self, run_id: str) -> RunStatus | None:
        def pause(book: Book) -> RunStatus | None:
            head = book.get(run_id)
            if head is None:
                return None
            if head.status in (RunStatus.QUEUED, RunStatus.SCHEDULED):
                book.look_at(run_id, None)
                return book.change(run_id, status=RunStatus.PAUSED, pause=1).status
            if head.status is RunStatus.RUNNING:
                book.change(run_id, pause=1)
            return head.status

        return self.work(pause, run_id)

    def resume(self, head: Head) -> bool:
        expected = head.status

        def resume(book: Book) -> bool:
            now = book.get(head.run_id)
            if now is None or expected not in _MOVABLE or now.sequence != head.sequence:
                return False
            waiting = now.status is RunStatus.QUEUED and not now.published_at
            if waiting and expected is not RunStatus.RUNNING:
                return now.timeline == head.timeline + (expected is RunStatus.FAILED)
            if now.status is not expected or now.timeline != head.timeline:
                return False
            if expected is RunStatus.FAILED:
                book.change(
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
            now = book.change(now.run_id, pause=0)
            if expected is not RunStatus.RUNNING:
                self._claims(book).enqueue(now, 0, book.now)
            return True

        return self.work(resume, head.run_id)

    def intend(self, run_id: str, checkpoint_id: str) -> RunStatus | None:
        done = (RunStatus.COMPLETED, RunStatus.CANCELLED, RunStatus.CANCELLING)

        def intend(book: Book) -> RunStatus | None:
            head = book.get(run_id)
            if head is None or head.status in done:
                return head.status if head is not None else None
            self._claims(book).unclaim(head)
            book.change(
                run_id,
                status=RunStatus.CANCELLING,
                timeline=head.timeline + 1,
                token=head.token + 1,
                intent=checkpoint_id,
            )
            book.look_at(run_id, book.now + LEASE_MS)
            return head.status

        return self.work(intend, run_id)

    def settle(self, head: Head, *, path: str, sequence: int, record: Record | None) -> bool:
        def settle(book: Book) -> bool:
            now = book.get(head.run_id)
            if now is None:
                return False
            if now.status is RunStatus.CANCELLED and now.checkpoint_id == head.intent:
                return True
            if now.status is not RunStatus.CANCELLING or now.intent != head.intent:
                return False
            if record is not None:
                book.write_log(record)
            book.change(
                head.run_id,
                status=RunStatus.CANCELLED,
                intent="",
                checkpoint_id=head.intent,
                at=path,
                sequence=sequence,
                stage="",
                finished_at=book.now,
            )
            self._retain(book, head.run_id)
            return True

        return self.work(settle, head.run_id)

    def delete(self, run_id: str) -> RunStatus | None:
        def delete(book: Book) -> RunStatus | None:
            head = book.get(run_id)
            if head is None:
                return None
            if head.status not in _DELETABLE:
                return head.status
            book.remove(run_id)
            book.delete_log(run_id)
            return None

        return self.work(delete, run_id)

    def get(self, run_id: str) -> Head | None:
        return self.work(lambda book: book.peek(run_id), run_id)

    def _bury_silent(self, owner: str, book: Book) -> None:
        entry = book.owner(owner, to_change=True)
        if entry is not None and entry.until <= book.now:
            self._claims(book).bury(owner, "owner")

    def _claims(self, book: Book) -> Claims:
        lapse_ms = int(self.settings.heartbeat_lapse_seconds * 1000)
        return Claims(book, lapse_ms=lapse_ms, max_crashes=self.settings.max_crashes)

    def _enqueue(self, book: Book, head: Head, push: Push | None) -> None:
        """Let the stage due wait, with *push* on its queue unless the run is to pause here."""
        pushed = push is not None and not head.pause
        if push is not None and pushed:
            self.push(push)
        again = book.now + self._patience_ms
        self._claims(book).enqueue(head, book.now if pushed else 0, again)

    def _retain(self, book: Book, run_id: str) -> None:
        """Keep a run that has ended for the time of the settings, with its log."""
        at = book.now + self._ttl_ms if self._ttl_ms > 0 else None
        book.look_at(run_id, at)
        book.expire_log(run_id, None if at is None else datetime.fromtimestamp(at / 1000, UTC))


def _holds(head: Head, claim: Claim) -> bool:
    return bool(claim.nonce) and (head.token, head.nonce) == (claim.token, claim.nonce)
