"""Who holds a run, and what it says about a stage when its holder goes: what ``_head.lua`` does in Redis."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from ..failure import fingerprint
from ..head import UNDER_WAY, Head, RunStatus, Step
from ..spent import added, read_amounts, write_amounts
from .base import LEASE_MS, Bid, Refusal
from .book import Book, OwnerEntry


class Claims:
    """Claims within one piece of work on *book*."""

    def __init__(self, book: Book, *, lapse_ms: int, max_crashes: int) -> None:
        self._book = book
        self._lapse_ms = lapse_ms
        self._max_crashes = max_crashes

    def enqueue(self, head: Head, published: int, look_again: int, **changes: Any) -> Head:
        """Let the stage due wait for a message; 0: none is known to be on the queue."""
        if head.pause:
            status, published = RunStatus.PAUSED, 0
            self.rest(head)
        else:
            status = RunStatus.QUEUED
            self._book.look_at(head.run_id, look_again)
        return self._book.change(head.run_id, status=status, published_at=published, **changes)

    def rest(self, head: Head) -> None:
        """Note that nothing more happens by itself; where the log is elsewhere, it has to be told."""
        self._book.look_at(head.run_id, self._book.now if head.log_elsewhere else None)

    def set_aside(self, head: Head, error: str) -> None:
        """Make the run a dead letter."""
        self.unclaim(head)
        self.rest(head)
        self._book.change(
            head.run_id, status=RunStatus.FAILED, error=error, finished_at=self._book.now
        )

    def release(self, head: Head) -> None:
        """Let the host that holds a run have another suspect on trial."""
        host = _host(head.worker)
        if head.trial and self._book.trial_of(host) == head.run_id:
            self._book.set_trial(host, "")

    def unclaim(self, head: Head) -> Head:
        """Forget the claim on a run; its token and nonce are worth nothing from here on.

        What its holder spent before it last kept something was of use, the rest was not; nobody knows of
        it after its owner's time.
        """
        self.release(head)
        if not head.nonce:
            return head
        owner = self._book.owner(head.owner)
        ended = self._book.now if owner is None else min(self._book.now, owner.until)
        mark = max(head.claimed_at, head.kept_at)
        spent, kept = read_amounts(head.spent_try), read_amounts(head.spent_kept)
        lost = {unit: amount - kept.get(unit, 0) for unit, amount in spent.items()}
        return self._book.change(
            head.run_id,
            owner="",
            nonce="",
            kept_at=0,
            worked_ms=head.worked_ms + mark - head.claimed_at,
            wasted_ms=head.wasted_ms + max(0, ended - mark),
            spent_try="",
            spent_kept="",
            spent_useful=write_amounts(added(read_amounts(head.spent_useful), kept)),
            spent_wasted=write_amounts(added(read_amounts(head.spent_wasted), lost)),
        )

    def claim(self, step: Step, bid: Bid) -> Head | Refusal:
        """Give the right to run *step*, or say why not."""
        now, head = self._book.now, self._book.get(step.run_id)
        if head is None:
            return Refusal.UNKNOWN
        if head.nonce == bid.nonce:
            return head
        refusal = _refusal(head, step)
        if refusal is not None:
            return refusal
        if head.trial and not self._begin_trial(head.run_id, bid.worker):
            self.enqueue(head, 0, now + self._lapse_ms)
            return Refusal.EARLY
        return self.give(head, bid)

    def give(self, head: Head, bid: Bid) -> Head:
        """Give the right to run the stage due, counting the attempt."""
        now = self._book.now
        deadline = now + head.time_limit_ms if head.time_limit_ms > 0 else 0
        look = now + self._lapse_ms
        known = self._book.owner(bid.owner)
        if known is None or known.until < now + self._lapse_ms / 2:
            # Who beats, three times in a lapse, has more left.
            self._book.extend_owner(bid.owner, look)
        self._book.look_at(head.run_id, min(look, deadline) if deadline else look)
        return self._book.change(
            head.run_id,
            status=RunStatus.RUNNING,
            owner=bid.owner,
            nonce=bid.nonce,
            ordinal=bid.ordinal,
            worker=bid.worker,
            token=head.token + 1,
            attempt=head.attempt + 1,
            tries=head.tries + 1,
            claimed_at=now,
            deadline=deadline,
        )

    def beat(self, owner: str, held: set[str], as_of: int, leaving: bool) -> set[str]:
        """Keep *owner* alive; free what it does not name; return what it has lost."""
        known = self._book.owner(owner, to_change=True)
        self._book.keep_owner(
            owner,
            OwnerEntry(
                self._book.now + self._lapse_ms, leaving or (known is not None and known.leaving)
            ),
        )
        claimed = self._book.held_by(owner)
        for head in claimed:
            if head.nonce not in held and head.ordinal <= as_of:
                self._take_away(head, "leak")
        return held - {head.nonce for head in claimed}

    def bury(self, owner: str, cause: str) -> list[str]:
        """Free all that a gone owner held; return the run ids."""
        known = self._book.owner(owner, to_change=True)
        if known is not None and known.leaving:
            cause = "leaving"
        freed = [head.run_id for head in self._book.held_by(owner) if self._take_away(head, cause)]
        self._book.drop_owner(owner)
        return freed

    def silent(self, limit: int) -> list[str]:
        """Return owners that fell silent, longest first."""
        now, looked = self._book.now, self._book.looked()
        owners = self._book.owners()
        if looked is not None and now - looked > self._lapse_ms / 2:
            # Nobody looked for a while: no heartbeat could arrive, so silence proves nothing yet.
            for name, entry in owners.items():
                if not entry.spared:
                    standing = self._book.owner(name, to_change=True) or entry
                    until = max(standing.until, now + self._lapse_ms)
                    owners[name] = replace(standing, until=until, spared=True)
                    self._book.keep_owner(name, owners[name])
        lapsed = [name for name, entry in owners.items() if entry.until <= now]
        return sorted(lapsed, key=lambda name: owners[name].until)[:limit]

    def decide(self, head: Head) -> Head | None:
        """Do what is due for a run; return its head, leased, if somebody else has to act."""
        now, run_id = self._book.now, head.run_id
        if head.status is RunStatus.RUNNING:
            if 0 < head.deadline <= now:
                self._take_away(head, "timeout")
            elif self._book.owner(head.owner) is None:
                self._take_away(head, "owner")
            else:
                again = now + self._lapse_ms
                self._book.look_at(run_id, min(again, head.deadline) if head.deadline else again)
        elif head.status is RunStatus.SCHEDULED:
            self.enqueue(head, 0, now)
        elif head.status in (RunStatus.COMPLETED, RunStatus.CANCELLED):
            self._book.remove(run_id)
            self._book.delete_log(run_id)
            return None
        after = self._book.get(run_id)
        if after is None:
            return None
        if after.status is RunStatus.QUEUED or after.status in UNDER_WAY:
            self._book.look_at(run_id, now + LEASE_MS)
            return after
        at_rest = after.status in (RunStatus.FAILED, RunStatus.PAUSED)
        if at_rest and after.log_elsewhere and after.marked != after.status:
            self._book.look_at(run_id, now + 2 * LEASE_MS)
            return after
        if after.status is not RunStatus.RUNNING:
            self._book.look_at(run_id, None)
        return None

    def _take_away(self, head: Head, cause: str) -> bool:
        """Take the claim from a holder that is gone, and count what that says about the stage."""
        if head.status is not RunStatus.RUNNING:
            return False
        crashes, suspicions = head.crashes, head.suspicions
        if cause in ("child", "timeout"):
            crashes += 1
        elif cause == "owner":
            suspicions += 1
        self.unclaim(head)
        freed = self._book.change(
            head.run_id, crashes=crashes, suspicions=suspicions, last_cause=cause
        )
        if crashes >= self._max_crashes or suspicions > 2 * self._max_crashes:
            self.set_aside(freed, _loss(head, cause, crashes + suspicions))
        else:
            trial = int(suspicions >= self._max_crashes)
            self.enqueue(freed, 0, self._book.now, trial=trial)
        return True

    def _begin_trial(self, run_id: str, worker: str) -> bool:
        """Put a suspect on trial; False if the worker's host has another there."""
        there = self._book.trial_of(_host(worker))
        if there and there != run_id:
            other = self._book.peek(there)
            if other is not None and other.status is RunStatus.RUNNING:
                return False
        self._book.set_trial(_host(worker), run_id)
        return True


def _refusal(head: Head, step: Step) -> Refusal | None:
    """Return why *step* cannot be run whoever asks; None: it is due."""
    if head.status.ended:
        return Refusal.FINISHED
    if head.status is RunStatus.PAUSED or head.status in UNDER_WAY:
        return Refusal.PAUSED
    if (step.timeline, step.sequence) > (head.timeline, head.sequence):
        return Refusal.AHEAD
    if step != head.step:
        return Refusal.STALE
    if head.status is RunStatus.RUNNING:
        return Refusal.DUPLICATE
    return Refusal.EARLY if head.status is RunStatus.SCHEDULED else None


def _host(worker: str) -> str:
    """Return the host of a worker, which is named ``host:pid``."""
    return worker.rpartition(":")[0] or worker


def _loss(head: Head, cause: str, times: int) -> str:
    late = cause == "timeout"
    kind = "StageTimeout" if late else "WorkerLost"
    what = "ran out of time" if late else "lost its worker"
    return json.dumps(
        {
            "type": kind,
            "stage": head.stage,
            "group": fingerprint(head.pipeline, head.stage, kind),
            "message": f"Stage {head.stage} {what} {times} times without progress "
            f"(last: {head.worker or '?'}).",
        }
    )
