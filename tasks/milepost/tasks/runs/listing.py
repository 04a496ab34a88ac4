"""The contract of finding runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from milepost.checkpointing import Page

from ..head import Head, RunStatus
from ..query import EVERY_RUN, RunQuery


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Runs that have failed of one cause. Times are milliseconds of the store's clock."""

    group: str
    count: int
    first_at: int
    """When the one of them failed that failed first."""
    last_at: int
    example: Head
    """The one that failed last."""


class RunListing(ABC):
    """What a run store tells of many runs at once; bodies of checkpoints are never read for it."""

    @abstractmethod
    def find(
        self, query: RunQuery = EVERY_RUN, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Head]:
        """List runs, youngest first.

        A page may have fewer runs than *limit*, even none, and a cursor all the same: where no index serves a
        condition, so many runs at most are gone through at a time.

        Raises:
            Misconfigured: The cursor is none of this listing.
        """

    @abstractmethod
    def oldest(self, status: RunStatus, limit: int = 100) -> list[Head]:
        """Return the runs of a status that were started first, oldest first."""

    @abstractmethod
    def counts(self) -> dict[tuple[str, RunStatus], int]:
        """Return how many runs there are by pipeline and status; none is not mentioned."""

    @abstractmethod
    def groups(self, limit: int = 100) -> list[ErrorGroup]:
        """Return failed runs by the cause they share, the latest failure first.

        A failure is in its group as long as its run is failed: retried, cancelled or deleted it is not.
        """

    @abstractmethod
    def oldest_due(self) -> int | None:
        """Return when the run has to be looked at that has to be first, in milliseconds of the store's clock.

        In a fleet that looks it is hardly ever past; None: nothing has to be looked at.
        """

    @abstractmethod
    def struggling(self, limit: int = 100) -> list[Head]:
        """Return unfinished runs whose stage due has lost workers since they last got on, worst first."""


def position(cursor: str) -> tuple[int, str]:
    """Read a cursor: time of creation and id of the last run shown.

    Raises:
        ValueError: It is none.
    """
    created, dot, run_id = cursor.partition(".")
    if not dot or not created.isdecimal() or len(created) > 18:
        raise ValueError(cursor[:100])
    return int(created), run_id


def cursor_at(head: Head) -> str:
    """Return the cursor behind a run."""
    return f"{head.created_at}.{head.run_id}"
