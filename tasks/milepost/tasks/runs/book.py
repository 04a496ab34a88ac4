"""What a `Bookkeeper` writes in: the contract of a book, and the entry of an owner."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from milepost.checkpointing import CheckpointKey, Record

from ..head import Head


@dataclass(frozen=True, slots=True)
class OwnerEntry:
    """What is known of a process that runs stages."""

    until: int
    """When it counts as gone unless it is heard of, in milliseconds of the store's clock."""
    leaving: bool = False
    spared: bool = False


class Book(ABC):
    """One piece of work on heads, owners and the log: kept as a whole, or not at all.

    What was read to be changed stays as it is until the work is done.
    """

    now: int
    """The store's time in milliseconds."""

    @abstractmethod
    def new_created_at(self) -> int:
        """Return the time of a creation, in microseconds."""

    @abstractmethod
    def get(self, run_id: str) -> Head | None:
        """Return the head of a run, to be changed."""

    @abstractmethod
    def peek(self, run_id: str) -> Head | None:
        """Return the head of a run as it was a moment ago."""

    @abstractmethod
    def add(self, head: Head) -> bool:
        """Keep a new head; False if its run is there already."""

    @abstractmethod
    def change(self, run_id: str, **changes: Any) -> Head:
        """Change fields of a head that was got, and return it."""

    @abstractmethod
    def remove(self, run_id: str) -> None:
        """Forget a run."""

    @abstractmethod
    def look_at(self, run_id: str, at: int | None) -> None:
        """Set when the run must next be looked at; None: never."""

    @abstractmethod
    def due_at(self, run_id: str) -> int | None:
        """Return when the run must next be looked at."""

    @abstractmethod
    def due(self, limit: int) -> list[Head]:
        """Return heads whose time has come, longest due first, that nobody else works on."""

    @abstractmethod
    def held_by(self, owner: str) -> list[Head]:
        """Return the heads whose claim *owner* has, to be changed."""

    @abstractmethod
    def owner(self, name: str, *, to_change: bool = False) -> OwnerEntry | None:
        """Return what is known of an owner."""

    @abstractmethod
    def owners(self) -> dict[str, OwnerEntry]:
        """Return all owners."""

    @abstractmethod
    def keep_owner(self, name: str, entry: OwnerEntry) -> None:
        """Write what is known of an owner."""

    @abstractmethod
    def extend_owner(self, name: str, until: int) -> None:
        """Let an owner count as alive until then at least."""

    @abstractmethod
    def drop_owner(self, name: str) -> None:
        """Forget an owner."""

    @abstractmethod
    def trial_of(self, host: str) -> str:
        """Return the run that a host has on trial, to be changed; empty if none."""

    @abstractmethod
    def set_trial(self, host: str, run_id: str) -> None:
        """Note the run that a host has on trial; empty if none."""

    @abstractmethod
    def looked(self) -> int | None:
        """Return when somebody looked last, and note that somebody looks now."""

    @abstractmethod
    def read_log(self, key: CheckpointKey) -> Record | None:
        """Return a record of the log that lies in the same place."""

    @abstractmethod
    def write_log(self, record: Record) -> bool:
        """Write a record of that log; False if another stands there."""

    @abstractmethod
    def expire_log(self, run_id: str, at: datetime | None) -> None:
        """Let a run's log be gone from *at* on; None: never."""

    @abstractmethod
    def delete_log(self, run_id: str) -> None:
        """Remove a run's log."""
