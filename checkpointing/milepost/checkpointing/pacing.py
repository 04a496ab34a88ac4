"""What a manager remembers of the runs it writes to."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from .manifest import Manifest
from .models import Checkpoint
from .policies import Policy, Since

_REMEMBERED = 10_000
_WEIGHT = 0.2


class Last(NamedTuple):
    """What the next checkpoint has to know of the last."""

    sequence: int
    checkpoint_id: str | None
    manifest: Manifest | None = None


@dataclass(slots=True)
class Pace:
    """One run's: all of it may be forgotten but `offered`."""

    last: Last | None = None
    """The last checkpoint known to stand."""
    written_at: float | None = None
    offers: int = 0
    work: float = 0.0
    whole_in_a_row: int = 0
    """How many of one record each were written here, one after the other."""
    offered: Checkpoint | None = None
    """What was offered and not written."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Pacing:
    """The paces of the runs that were written to last; safe to use from several threads."""

    def __init__(self, policy: Policy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock = clock
        self._paces: OrderedDict[str, Pace] = OrderedDict()
        self._lock = threading.Lock()
        self._write_seconds = 0.0

    def of(self, run_id: str) -> Pace:
        """Return the pace of a run."""
        with self._lock:
            pace = self._paces.setdefault(run_id, Pace())
            self._paces.move_to_end(run_id)
            if len(self._paces) > _REMEMBERED:
                self._forget_one(run_id)
            return pace

    def keep(self, run_id: str, pace: Pace) -> None:
        """See to it that what was offered is found, though the run was forgotten meanwhile."""
        with self._lock:
            self._paces[run_id] = pace

    def forget(self, run_id: str) -> None:
        """Forget a run, and what was offered for it."""
        with self._lock:
            self._paces.pop(run_id, None)

    def offered(self) -> list[str]:
        """Return the runs for which something was offered and not written."""
        with self._lock:
            return [run_id for run_id, pace in self._paces.items() if pace.offered is not None]

    def is_due(self, pace: Pace, offer: Checkpoint, event: str | None, work: float) -> bool:
        """Count an offer, and say whether it is to be written."""
        pace.offers += 1
        pace.work += work
        seconds = None if pace.written_at is None else self._clock() - pace.written_at
        since = Since(
            seconds, pace.offers, pace.work, event, offer.metadata.stage, self._write_seconds
        )
        return self._policy.is_due(since)

    def is_overdue(self, pace: Pace) -> bool:
        """Whether what was offered would be due by now though nothing new has come."""
        if pace.offered is None or pace.written_at is None:
            return pace.offered is not None
        since = Since(
            self._clock() - pace.written_at,
            pace.offers,
            pace.work,
            None,
            pace.offered.metadata.stage,
            self._write_seconds,
        )
        return self._policy.is_due(since)

    def written(self, pace: Pace, last: Last, took_seconds: float) -> None:
        """Note that a checkpoint was written, and begin to count anew."""
        pace.last, pace.offered = last, None
        pace.whole_in_a_row = 0 if last.manifest else pace.whole_in_a_row + 1
        pace.written_at, pace.offers, pace.work = self._clock(), 0, 0.0
        weight = _WEIGHT if self._write_seconds else 1.0
        self._write_seconds += weight * (took_seconds - self._write_seconds)

    def _forget_one(self, spared: str) -> None:
        for run_id, pace in self._paces.items():
            if pace.offered is None and run_id != spared and not pace.lock.locked():
                del self._paces[run_id]
                return
