"""The contract of what a run store keeps beside runs: small entries by name, notes, unusable messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ..head import Head


@dataclass(frozen=True, slots=True)
class Note:
    """That somebody did something, for the audit trail."""

    run_id: str
    """Empty if it is about no run in particular."""
    by: str
    command: str
    detail: str = ""
    at: int = 0
    """Milliseconds of the store's clock; given by the store."""


def is_about(note: Note, head: Head) -> bool:
    """Whether a note is about this run, and not about one that had its id before, maybe another tenant's."""
    return note.run_id == head.run_id and note.at >= head.created_at // 1000


class Registry(ABC):
    """Entries are few: keys of the API, paused queues, workers. Each kind is read as a whole."""

    @abstractmethod
    def keep(self, kind: str, name: str, value: str | None) -> None:
        """Write an entry; None: remove it."""

    @abstractmethod
    def keep_first(self, kind: str, name: str, value: str) -> str:
        """Write an entry unless there is one, and return the one that stands."""

    @abstractmethod
    def kept(self, kind: str) -> dict[str, str]:
        """Return all entries of a kind by name."""

    @abstractmethod
    def kept_one(self, kind: str, name: str) -> str | None:
        """Return one entry."""

    @abstractmethod
    def now(self) -> int:
        """Return what the store's clock says, in milliseconds."""

    @abstractmethod
    def last_look(self) -> int | None:
        """Return when somebody last looked after runs, by that clock; None: nobody has yet."""

    @abstractmethod
    def note(self, *notes: Note) -> None:
        """Write notes. The last hundred of a run are kept as long as it is, the last ten thousand of all."""

    @abstractmethod
    def notes(self, run_id: str | None = None, limit: int = 100) -> list[Note]:
        """Return the notes on a run, or on all, newest first.

        Those on a run that was deleted are among those on all, and come back with no new run of its id.
        """

    def notes_on(self, head: Head, limit: int = 100) -> list[Note]:
        """Return the notes on a run, newest first, without those on runs that had its id before."""
        return [note for note in self.notes(head.run_id, limit) if is_about(note, head)]

    @abstractmethod
    def put_aside(self, reason: str, message: str) -> None:
        """Keep a message that nobody can use, with the reason. The last thousand are kept."""

    @abstractmethod
    def aside(self, limit: int = 100) -> list[dict[str, str]]:
        """Return the messages put aside, newest first: `reason`, `message`, `at`."""


NOTES_OF_A_RUN = 100
NOTES_OF_ALL = 10_000
ASIDE_KEPT = 1_000
