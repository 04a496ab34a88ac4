"""Heads, claims and owners of a `MemoryRunStore`: what ``_head.lua`` and the sweeps do in Redis.

Nothing here locks; the store calls it under its one lock.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ..head import Head, RunStatus, Step
from ..settings import TaskSettings
from .base import Bid, Refusal

LEASE_MS = 5_000
_BURIALS_A_LOOK = 10


class MemoryHeads:
    """The heads of all runs, who holds them and when they are due."""

    def __init__(self, settings: TaskSettings, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lapse_ms = int(settings.heartbeat_lapse_seconds * 1000)
        self._max_crashes = settings.max_crashes
        self._heads: dict[str, Head] = {}
        self.due: dict[str, int] = {}
        """When to look at a run next."""
        self.flow: dict[tuple[str, int], int] = {}
        """The newest publication claimed, by queue and priority."""
        self._owners: dict[str, int] = {}
        self._leaving: set[str] = set()
        self._claims: defaultdict[str, dict[str, tuple[int, str]]] = defaultdict(dict)
        self._trials: dict[str, str] = {}
        """The suspect that a host has on trial, by the host."""
        self._spared: set[str] = set()
        self._looked: int | None = None

    def get(self, run_id: str) -> Head | None:
        """Return the head of a run."""
        return self._heads.get(run_id)

    def all(self) -> Iterator[Head]:
        """Return all heads."""
        return iter([*self._heads.values()])

    def add(self, head: Head) -> None:
        """Keep a new head."""
        self._heads[head.run_id] = head

    def change(self, run_id: str, **changes: Any) -> Head:
        """Change fields of a head and return it."""
        head = replace(self._heads[run_id], updated_at=self._clock(), **changes)
        self._heads[run_id] = head
        return head

    def forget(self, run_id: str) -> None:
        """Remove a head and what points to it."""
        self._heads.pop(run_id, None)
        self.due.pop(run_id, None)

    def enqueue(self, run_id: str, published: int, look_again: int, **changes: Any) -> None:
        """Let the stage due wait for a message; 0: none is known to be on the queue."""
        if self._heads[run_id].pause:
            self.change(run_id, status=RunStatus.PAUSED, published_at=0, **changes)
            self.due.pop(run_id, None)
        else:
            self.change(run_id, status=RunStatus.QUEUED, published_at=published, **changes)
            self.due[run_id] = look_again

    def set_aside(self, run_id: str, error: str) -> None:
        """Make the run a dead letter."""
        self.unclaim(run_id)
        self.change(run_id, status=RunStatus.FAILED, error=error, finished_at=self._clock())
        self.due.pop(run_id, None)

    def unclaim(self, run_id: str) -> None:
        """Forget the claim on a run; its token and nonce are worth nothing from here on."""
        head = self._heads[run_id]
        if head.nonce:
            self._claims[head.owner].pop(head.nonce, None)
            self.change(run_id, owner="", nonce="")
        if head.trial and self._trials.get(_host(head.worker)) == run_id:
            del self._trials[_host(head.worker)]

    def claim(self, step: Step, bid: Bid) -> Head | Refusal:
        """Give the right to run *step*, or say why not."""
        now, run_id = self._clock(), step.run_id
        head = self._heads.get(run_id)
        if head is None:
            return Refusal.UNKNOWN
        if head.nonce == bid.nonce:
            return head
        refusal = _refusal(head, step)
        if refusal is not None:
            return refusal
        if head.trial and not self._begin_trial(run_id, bid.worker):
            self.enqueue(run_id, 0, now + self._lapse_ms)
            return Refusal.EARLY
        flow = (head.queue, head.priority)
        if head.published_at > self.flow.get(flow, 0):
            self.flow[flow] = head.published_at
        deadline = now + head.time_limit_ms if head.time_limit_ms > 0 else 0
        look = now + self._lapse_ms
        self._claims[bid.owner][bid.nonce] = (bid.ordinal, run_id)
        self._owners[bid.owner] = max(now + self._lapse_ms, self._owners.get(bid.owner, 0))
        self.due[run_id] = min(look, deadline) if deadline else look
        return self.change(
            run_id,
            status=RunStatus.RUNNING,
            owner=bid.owner,
            nonce=bid.nonce,
            worker=bid.worker,
            token=head.token + 1,
            attempt=head.attempt + 1,
            claimed_at=now,
            deadline=deadline,
        )

    def beat(self, owner: str, held: set[str], as_of: int, leaving: bool) -> set[str]:
        """Keep *owner* alive; free what it does not name; return what it has lost."""
        self._owners[owner] = self._clock() + self._lapse_ms
        self._spared.discard(owner)
        if leaving:
            self._leaving.add(owner)
        claims = self._claims[owner]
        standing = held & claims.keys()
        for nonce, (ordinal, run_id) in [*claims.items()]:
            if nonce not in held and ordinal <= as_of:
                if self._nonce(run_id) == nonce:
                    self._take_away(run_id, "leak")
                claims.pop(nonce, None)
        return held - standing

    def bury(self, owner: str, cause: str) -> list[str]:
        """Free all that a gone owner held; return the run ids."""
        if owner in self._leaving:
            cause = "leaving"
        freed = [
            run_id
            for nonce, (_, run_id) in [*self._claims[owner].items()]
            if self._nonce(run_id) == nonce and self._take_away(run_id, cause)
        ]
        del self._claims[owner]
        self._owners.pop(owner, None)
        self._leaving.discard(owner)
        self._spared.discard(owner)
        return freed

    def look(self, limit: int) -> list[Head]:
        """Return up to *limit* runs that want a decision, each leased."""
        now = self._clock()
        looked, self._looked = self._looked, now
        if looked is not None and now - looked > self._lapse_ms / 2:
            # Nobody looked for a while: no heartbeat could arrive, so silence proves nothing yet.
            for owner in self._owners.keys() - self._spared:
                self._owners[owner] = max(self._owners[owner], now + self._lapse_ms)
            self._spared |= self._owners.keys()
        lapsed = [owner for owner, until in self._owners.items() if until <= now]
        for owner in sorted(lapsed, key=self._owners.__getitem__)[:_BURIALS_A_LOOK]:
            self.bury(owner, "owner")
        ready = [run_id for run_id, at in self.due.items() if at <= now]
        ready = sorted(ready, key=lambda run_id: (self.due[run_id], run_id))[:limit]
        return [head for run_id in ready if (head := self._decide(run_id, now)) is not None]

    def _decide(self, run_id: str, now: int) -> Head | None:
        """Do what is due for a run; return its head, leased, if somebody else has to act."""
        head = self._heads[run_id]
        if head.status is RunStatus.RUNNING:
            if 0 < head.deadline <= now:
                self._take_away(run_id, "timeout")
            elif head.owner not in self._owners:
                self._take_away(run_id, "owner")
            else:
                again = now + self._lapse_ms
                self.due[run_id] = min(again, head.deadline) if head.deadline else again
        elif head.status is RunStatus.SCHEDULED:
            self.enqueue(run_id, 0, now)
        elif head.status in (RunStatus.COMPLETED, RunStatus.CANCELLED):
            self.forget(run_id)
            return None
        head = self._heads[run_id]
        if head.status in (RunStatus.QUEUED, RunStatus.CANCELLING):
            self.due[run_id] = now + LEASE_MS
            return head
        if head.status is not RunStatus.RUNNING:
            self.due.pop(run_id, None)
        return None

    def _take_away(self, run_id: str, cause: str) -> bool:
        """Take the claim from a holder that is gone, and count what that says about the stage."""
        head = self._heads[run_id]
        if head.status is not RunStatus.RUNNING:
            return False
        crashes, suspicions = head.crashes, head.suspicions
        if cause in ("child", "timeout"):
            crashes += 1
        elif cause == "owner":
            suspicions += 1
        self.unclaim(run_id)
        self.change(run_id, crashes=crashes, suspicions=suspicions, last_cause=cause)
        if crashes >= self._max_crashes or suspicions > 2 * self._max_crashes:
            self.set_aside(run_id, _loss(head, cause, crashes + suspicions))
        else:
            trial = int(suspicions >= self._max_crashes)
            self.enqueue(run_id, 0, self._clock(), trial=trial)
        return True

    def _begin_trial(self, run_id: str, worker: str) -> bool:
        """Put a suspect on trial; False if the worker's host has another there."""
        other = self._heads.get(self._trials.get(_host(worker), ""))
        if other is not None and other.run_id != run_id and other.status is RunStatus.RUNNING:
            return False
        self._trials[_host(worker)] = run_id
        return True

    def _nonce(self, run_id: str) -> str:
        head = self._heads.get(run_id)
        return head.nonce if head is not None else ""


def _refusal(head: Head, step: Step) -> Refusal | None:
    """Return why *step* cannot be run whoever asks; None: it is due."""
    if head.status.ended:
        return Refusal.FINISHED
    if head.status in (RunStatus.PAUSED, RunStatus.CANCELLING):
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
    what = "ran out of time" if late else "lost its worker"
    return json.dumps(
        {
            "type": "StageTimeout" if late else "WorkerLost",
            "stage": head.stage,
            "message": f"Stage {head.stage} {what} {times} times without progress "
            f"(last: {head.worker or '?'}).",
        }
    )
