"""A run store that decides in Python what the Lua files decide in Redis, over any kind of `Book`."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from milepost.checkpointing import AlreadyExists, Record, Unavailable

from ..head import Head, RunStatus, Step
from ..spent import added, read_amounts, write_amounts
from .base import Advance, Bid, Cause, Claim, Commit, Look, Push, Refusal, due_fields
from .book import Book
from .booked_commands import BookedCommands

_BURIALS_A_LOOK = 10
logger = logging.getLogger("milepost")
T = TypeVar("T")


class Bookkeeper(BookedCommands):
    """Operations on runs, each one piece of work on a book."""

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
        if not isinstance(claim_or_not, Claim):
            return claim_or_not
        head = claim_or_not.head
        # A message that went ahead says nothing of those before which it was published.
        if head.published_at and head.attempt == 1:
            self.note_flow(head.queue, head.priority, head.published_at)
        return claim_or_not

    def advance(self, claim: Claim, commit: Commit) -> Advance | Claim:
        run_id, following, bid = claim.head.run_id, commit.following, commit.bid
        due = due_fields(following, self._patience_ms)

        def advance(book: Book) -> Advance | Claim:
            head = book.get(run_id)
            if head is not None and head.checkpoint_id == commit.checkpoint_id:
                again = bid is not None and head.nonce == bid.nonce
                return Claim(head, head.nonce, commit.record) if again else Advance.ADVANCED
            if head is None or not _holds(head, claim):
                return Advance.FENCED
            if commit.record is not None and not book.write_log(commit.record):
                return Advance.OCCUPIED
            spent = read_amounts(commit.spent or head.spent_try)
            self._claims(book).release(head)
            head = book.change(
                run_id,
                owner="",
                nonce="",
                kept_at=0,
                spent_try="",
                spent_kept="",
                spent_useful=write_amounts(added(read_amounts(head.spent_useful), spent)),
                worked_ms=head.worked_ms + book.now - head.claimed_at,
                written_bytes=head.written_bytes + commit.size_bytes,
                checkpoint_id=commit.checkpoint_id,
                at=commit.path,
                sequence=commit.sequence,
                timeline=commit.timeline,
                attempt=0,
                failures=0,
                crashes=0,
                suspicions=0,
                trial=0,
                error="",
                progress_at="",
                progress="",
                **{"stages_done": head.stages_done + 1, **due, **commit.changes},
            )
            if following is not None and bid is not None and not head.pause:
                given = self._claims(book).give(book.change(run_id, published_at=0), bid)
                return Claim(given, bid.nonce, commit.record)
            if following is not None:
                self._enqueue(book, head, commit.push)
            else:
                book.change(run_id, status=commit.status, pause=0, finished_at=book.now)
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
            now, spent = book.now, head.spent_try
            book.change(
                head.run_id, progress_at=path, progress=progress, kept_at=now, spent_kept=spent
            )
            return True

        return self.work(save, claim.head.run_id)

    def spend(self, claim: Claim, spent: str, *, kept: bool) -> bool:
        def spend(book: Book) -> bool:
            head = book.get(claim.head.run_id)
            if head is None or not _holds(head, claim):
                return False
            stands: dict[str, Any] = {"spent_kept": spent, "kept_at": book.now} if kept else {}
            book.change(head.run_id, spent_try=spent, **stands)
            return True

        return self.work(spend, claim.head.run_id)

    def fail(self, claim: Claim, error: str, delay_ms: int | None) -> bool:
        def fail(book: Book) -> bool:
            head = book.get(claim.head.run_id)
            if head is None or not _holds(head, claim):
                return head is not None and head.last_nonce == claim.nonce
            claims = self._claims(book)
            head = book.change(
                head.run_id, failures=head.failures + 1, last_nonce=claim.nonce, last_cause=""
            )
            if delay_ms is None:
                claims.set_aside(head, error)
                return True
            head = claims.unclaim(head)
            if head.pause:
                book.change(head.run_id, status=RunStatus.PAUSED, error=error)
                claims.rest(head)
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
            return book.change(head.run_id, timeline=claim.head.timeline + 1).timeline

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

    def _bury_silent(self, owner: str, book: Book) -> None:
        entry = book.owner(owner, to_change=True)
        if entry is not None and entry.until <= book.now:
            self._claims(book).bury(owner, "owner")


def _holds(head: Head, claim: Claim) -> bool:
    return bool(claim.nonce) and (head.token, head.nonce) == (claim.token, claim.nonce)
