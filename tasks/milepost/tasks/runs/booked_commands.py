"""The commands on runs that no claim is needed for, over any kind of `Book`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from ..errors import MovedOn
from ..head import Head, RunStatus
from ..settings import TaskSettings
from ..transitions import ALLOWED, Command
from .base import (
    BUDGET_CALLS_KEPT,
    LEASE_MS,
    Intent,
    Landing,
    Push,
    RunStore,
    due_fields,
    paused_places,
    seen_places,
)
from .book import Book
from .claims import Claims

_MOVABLE = ALLOWED[Command.RETRY] | ALLOWED[Command.RESUME]
_AFRESH: Mapping[str, Any] = {
    "attempt": 0, "failures": 0, "crashes": 0, "suspicions": 0, "trial": 0, "finished_at": 0
}  # fmt: skip
T = TypeVar("T")


class BookedCommands(RunStore):
    """Each command is one piece of work on a book."""

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

    def put_off(
        self, head: Head, *, nonce: str, delay_ms: int | None, error: str, ran: bool
    ) -> bool:
        wanted = RunStatus.PAUSED if delay_ms is None else RunStatus.SCHEDULED
        expected = RunStatus.RUNNING if nonce else RunStatus.QUEUED

        def put_off(book: Book) -> bool:
            now = book.get(head.run_id)
            if now is None or (now.timeline, now.sequence) != (head.timeline, head.sequence):
                return False
            if now.status is wanted and now.last_nonce == nonce:
                return True
            if now.nonce != nonce or now.status is not expected:
                return False
            now = self._claims(book).unclaim(now)
            if nonce and not ran:
                book.change(head.run_id, attempt=now.attempt - 1, tries=now.tries - 1)
            book.change(head.run_id, last_nonce=nonce, error=error, published_at=0)
            if delay_ms is None or now.pause:
                self._claims(book).rest(book.change(head.run_id, status=RunStatus.PAUSED))
            else:
                book.change(head.run_id, status=wanted)
                book.look_at(head.run_id, book.now + delay_ms)
            return True

        return self.work(put_off, head.run_id)

    def set_budget(self, head: Head, budget: str, call: str, *, seen: Head | None = None) -> bool:
        expected = (head.budget, head.budget_calls)

        def set_budget(book: Book) -> bool:
            now = book.get(head.run_id)
            if now is None:
                return False
            calls = now.budget_calls.split()
            if call in calls:
                return True
            _check(now, seen_places(seen))
            if (now.budget, now.budget_calls) != expected:
                return False
                return False
            kept = " ".join([call, *calls][:BUDGET_CALLS_KEPT])
            book.change(head.run_id, budget=budget, budget_calls=kept)
            return True

        return self.work(set_budget, head.run_id)

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

    def mark(self, head: Head) -> bool:
        return self._mark(head, None)

    def unmark(self, head: Head) -> bool:
        return self._mark(head, LEASE_MS)

    def _mark(self, head: Head, delay_ms: int | None) -> bool:
        expected = (head.status, head.timeline, head.sequence)

        def mark(book: Book) -> bool:
            now = book.get(head.run_id)
            if now is None or (now.status, now.timeline, now.sequence) != expected:
                return False
            book.change(head.run_id, marked=now.status if delay_ms is None else "")
            book.look_at(head.run_id, None if delay_ms is None else book.now + delay_ms)
            return True

        return self.work(mark, head.run_id)

    def reinstate(self, head: Head, delay_ms: int = 0) -> bool:
        def reinstate(book: Book) -> bool:
            new = replace(head, created_at=book.new_created_at())
            if not book.add(new):
                stands = book.peek(head.run_id)
                return stands is not None and stands.token == head.token
            if head.status is RunStatus.QUEUED:
                book.look_at(head.run_id, book.now)
            elif head.status is RunStatus.SCHEDULED:
                book.look_at(head.run_id, book.now + delay_ms)
            elif head.status in (RunStatus.COMPLETED, RunStatus.CANCELLED):
                book.change(head.run_id, finished_at=book.now)
                self._retain(book, head.run_id)
            elif head.status is RunStatus.FAILED:
                self._claims(book).rest(book.change(head.run_id, finished_at=book.now))
            else:
                self._claims(book).rest(new)
            return True

        return self.work(reinstate, head.run_id)

    def pause(self, run_id: str, *, seen: Head | None = None) -> RunStatus | None:
        def pause(book: Book) -> RunStatus | None:
            head = book.get(run_id)
            if head is None:
                return None
            _check(head, paused_places(seen))
            if head.status in (RunStatus.QUEUED, RunStatus.SCHEDULED):
                self._claims(book).rest(head)
                return book.change(run_id, status=RunStatus.PAUSED, pause=1).status
            if head.status is RunStatus.RUNNING:
                book.change(run_id, pause=1)
            return head.status

        return self.work(pause, run_id)

    def resume(self, head: Head, *, seen: Head | None = None) -> bool:
        expected = head.status

        def resume(book: Book) -> bool:
            now = book.get(head.run_id)
            if now is None or expected not in _MOVABLE:
                return False
            if now.sequence != head.sequence:
                _check(now, seen_places(seen))
                return False
            waiting = now.status is RunStatus.QUEUED and not now.published_at
            if waiting and expected is not RunStatus.RUNNING:
                return now.timeline == head.timeline + (expected is RunStatus.FAILED)
            _check(now, seen_places(seen, pause=0))
            if now.status is not expected or now.timeline != head.timeline:
                return False
            if expected is RunStatus.FAILED:
                book.change(now.run_id, timeline=now.timeline + 1, token=now.token + 1, **_AFRESH)
            now = book.change(now.run_id, pause=0, marked="")
            if expected is RunStatus.PAUSED:
                now = book.change(now.run_id, error="")
            if expected is not RunStatus.RUNNING:
                self._claims(book).enqueue(now, 0, book.now)
            return True

        return self.work(resume, head.run_id)

    def intend(self, run_id: str, intent: Intent) -> tuple[bool, RunStatus | None]:
        def intend(book: Book) -> tuple[bool, RunStatus | None]:
            head = book.get(run_id)
            if head is None:
                return False, None
            if head.status is intent.status and head.intent == intent.checkpoint_id:
                return True, RunStatus(head.status_before)
            _check(head, seen_places(intent.seen))
            if intent.position not in (None, (head.timeline, head.sequence)):
                return False, head.status
            if head.status not in intent.allowed:
                return False, head.status
            self._claims(book).unclaim(head)
            book.change(
                run_id,
                status=intent.status,
                timeline=head.timeline + 1,
                token=head.token + 1,
                intent=intent.checkpoint_id,
                status_before=head.status,
                due_before=book.due_at(run_id) or 0,
            )
            book.expire_log(run_id, None)
            book.look_at(run_id, book.now + LEASE_MS)
            return True, head.status

        return self.work(intend, run_id)

    def settle(self, head: Head, landing: Landing) -> bool:
        following = landing.following
        due = due_fields(following, self._patience_ms) if following else {}

        def settle(book: Book) -> bool:
            now = book.get(head.run_id)
            if now is None:
                return False
            under_way = now.status in (RunStatus.CANCELLING, RunStatus.REDIRECTING)
            if not under_way or now.intent != head.intent:
                return now.checkpoint_id == landing.checkpoint_id
            if landing.record is not None:
                book.write_log(landing.record)
            due_before = now.due_before
            now = book.change(
                head.run_id,
                intent="",
                status_before="",
                due_before=0,
                checkpoint_id=landing.checkpoint_id,
                at=landing.path,
                sequence=landing.sequence,
                published_at=0,
                marked="",
                progress="",
                progress_at="",
                **{**due, **landing.changes},
            )
            claims = self._claims(book)
            match landing.status:
                case RunStatus.COMPLETED | RunStatus.CANCELLED as ended:
                    book.change(
                        head.run_id, status=ended, stage="", queue="", pause=0, finished_at=book.now
                    )
                    self._retain(book, head.run_id)
                case RunStatus.FAILED:
                    claims.rest(book.change(head.run_id, status=RunStatus.FAILED))
                case RunStatus.PAUSED:
                    now = book.change(head.run_id, error="", **_AFRESH)
                    claims.rest(book.change(head.run_id, status=RunStatus.PAUSED))
                case RunStatus.SCHEDULED:
                    book.change(head.run_id, error="", **_AFRESH)
                    book.change(head.run_id, status=RunStatus.SCHEDULED)
                    book.look_at(head.run_id, due_before)
                case _:
                    claims.enqueue(now, 0, book.now, error="", **_AFRESH)
            return True

        return self.work(settle, head.run_id)

    def delete(self, head: Head) -> bool:
        def delete(book: Book) -> bool:
            now = book.get(head.run_id)
            if now is None:
                return True
            if now.status is not RunStatus.DELETING or now.intent != head.intent:
                return False
            book.remove(head.run_id)
            book.delete_log(head.run_id)
            return True

        return self.work(delete, head.run_id)

    def get(self, run_id: str) -> Head | None:
        return self.work(lambda book: book.peek(run_id), run_id)

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


def _check(head: Head, places: tuple[str, str]) -> None:
    if head.place not in places and any(places):
        raise MovedOn.of(head.run_id, head.status)
