"""The contract of whoever wants to know what a process does with runs: metrics, traces, logs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import ParamSpec, TypeVar

from .head import Head

logger = logging.getLogger("milepost")
P = ParamSpec("P")
R = TypeVar("R")


class Outcome(StrEnum):
    """What became of a try."""

    COMMITTED = "committed"
    ADOPTED = "adopted"
    """An earlier try had done the work; its checkpoint was taken."""
    RETRIED = "retried"
    """It failed and is tried again."""
    FAILED = "failed"
    """It failed for good: a dead letter."""
    HANDED_BACK = "handed_back"
    FENCED = "fenced"
    """Its claim was gone; what it did was refused."""
    PARKED = "parked"
    """The run was paused for want of budget."""
    INTERRUPTED = "interrupted"
    """A store did not answer, or the process was told to end at once."""


Ending = Callable[[Outcome, BaseException | None], None]
"""Told what became of a try, and what it failed of."""


class Observer:
    """Is told what happens; what is not overridden does not matter to it.

    Called from several threads, in the middle of the work: an observer is quick and touches no network. What
    it raises is logged, and changes nothing.
    """

    def begin(self, head: Head, stage: str) -> Ending | None:
        """A try of *stage* has its claim. What is returned is called in the same thread when it ends."""
        return None

    def committed(self, head: Head, stage: str, size_bytes: int) -> None:
        """A checkpoint was written, of so many bytes as it is stored."""

    def crashed(self, head: Head) -> None:
        """A run became a dead letter because its stage kept losing its process."""

    def looked(self, published: int | None) -> None:
        """The reconciler has looked, and put so many messages on queues; None: a store did not answer."""

    def republished(self, head: Head) -> None:
        """The message of a run was lost, and published again."""

    def unheard(self) -> None:
        """A heartbeat was not acknowledged."""

    def lapsed(self) -> None:
        """This process takes its claims for lost, because its heartbeats were not acknowledged in time."""

    def put_aside(self) -> None:
        """A message that is none was put aside."""

    def came_ahead(self) -> None:
        """A message names a step that its run has not come to: the run store went back, or it is forged."""


NOBODY = Observer()


class Observers(Observer):
    """All observers of an application as one; there are none until somebody adds them."""

    def __init__(self) -> None:
        self._all: tuple[Observer, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._all)

    def __iter__(self) -> Iterator[Observer]:
        return iter(self._all)

    def add(self, observer: Observer) -> None:
        """Tell *observer*, too, from here on."""
        self._all = (*self._all, observer)

    def begin(self, head: Head, stage: str) -> Ending | None:
        endings = [
            ending for each in self._all if (ending := _told(each.begin, head, stage)) is not None
        ]

        def end(outcome: Outcome, error: BaseException | None) -> None:
            for ending in reversed(endings):
                _told(ending, outcome, error)

        return end if endings else None

    def committed(self, head: Head, stage: str, size_bytes: int) -> None:
        for each in self._all:
            _told(each.committed, head, stage, size_bytes)

    def crashed(self, head: Head) -> None:
        for each in self._all:
            _told(each.crashed, head)

    def looked(self, published: int | None) -> None:
        for each in self._all:
            _told(each.looked, published)

    def republished(self, head: Head) -> None:
        for each in self._all:
            _told(each.republished, head)

    def unheard(self) -> None:
        for each in self._all:
            _told(each.unheard)

    def lapsed(self) -> None:
        for each in self._all:
            _told(each.lapsed)

    def put_aside(self) -> None:
        for each in self._all:
            _told(each.put_aside)

    def came_ahead(self) -> None:
        for each in self._all:
            _told(each.came_ahead)


def outcome_of(said: str) -> Outcome:
    """Return the outcome of a try of which the engine *said* this."""
    if said.startswith("adopted"):
        return Outcome.ADOPTED
    if said == "completed" or said.startswith("advanced to"):
        return Outcome.COMMITTED
    if said.startswith("paused"):
        return Outcome.PARKED
    return Outcome.HANDED_BACK if said == "handed back" else Outcome.FENCED


def _told(tell: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    try:
        return tell(*args, **kwargs)
    except Exception:
        logger.exception("Observing failed; the work goes on.")
        return None
