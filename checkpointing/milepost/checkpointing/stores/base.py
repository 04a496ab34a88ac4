"""The contract of a checkpoint store; the suite in `milepost.checkpointing.testing` proves it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from ..closing import Closing
from ..errors import AlreadyExists
from ..models import MAIN_LANE, CheckpointKey, Kind, Record
from ..page import Page


@dataclass(frozen=True, slots=True)
class Entry:
    """What a listing shows of a record: all but its body."""

    key: CheckpointKey
    header: bytes
    body_bytes: int


class CheckpointStore(Closing, ABC):
    """An append-only log of records for each run.

    Every method may be called again after its reply was lost and comes to the same result. Calls
    from several threads and processes at once are safe. Ids are taken as they are: callers check
    them (`ids.valid_name`) before they reach a store.

    Raises, from every method:
        Unavailable: The store does not answer in `store_timeout_seconds`; trying again may help.
        Refused: It answers no (credentials, permissions, missing bucket).
    """

    @property
    @abstractmethod
    def location(self) -> str:
        """The URL of the store, without its password."""

    @abstractmethod
    def put(self, record: Record) -> None:
        """Write *record* if its key is free.

        After it returns, the record survives what the store survives. If the process dies in it,
        either all of the record is there or nothing.

        Raises:
            AlreadyExists: Another record stands there. The same record again is no error.
        """

    @abstractmethod
    def get(self, key: CheckpointKey) -> Record:
        """Return the record under *key*.

        Raises:
            NotFound: There is none, or the run has expired.
        """

    def put_all(self, records: Sequence[Record]) -> None:
        """Write records that are named by their content: what stands there already is the same.

        Raises as `put` does; which of them were written then is not known.
        """
        for record in records:
            with suppress(AlreadyExists):
                self.put(record)

    def get_all(self, keys: Sequence[CheckpointKey]) -> list[Record]:
        """Return the records under *keys*, in their order; raises as `get` does."""
        return [self.get(key) for key in keys]

    @abstractmethod
    def latest(self, run_id: str, kind: Kind = Kind.COMMIT, lane: str = MAIN_LANE) -> Record | None:
        """Return the last record of a series: highest timeline, then highest sequence."""

    def latest_of(self, run_id: str, kinds: Sequence[Kind], lane: str = MAIN_LANE) -> Record | None:
        """Return what `latest` does for the first of *kinds* that has a record."""
        for kind in kinds:
            if record := self.latest(run_id, kind, lane):
                return record
        return None

    @abstractmethod
    def history(
        self,
        run_id: str,
        kind: Kind = Kind.COMMIT,
        lane: str = MAIN_LANE,
        *,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Entry]:
        """List a series, last record first, without reading bodies."""

    def entries(
        self,
        run_id: str,
        kind: Kind = Kind.COMMIT,
        lane: str = MAIN_LANE,
        *,
        page_size: int = 100,
    ) -> Iterator[Entry]:
        """List all of a series, last record first, a page at a time."""
        cursor: str | None = None
        while True:
            page = self.history(run_id, kind, lane, cursor=cursor, limit=page_size)
            yield from page.items
            if (cursor := page.cursor) is None:
                return

    @abstractmethod
    def runs(self, *, cursor: str | None = None, limit: int = 100) -> Page[str]:
        """List the ids of runs that have records, in the order of their names."""

    @abstractmethod
    def delete(self, key: CheckpointKey) -> bool:
        """Remove one record; False if there was none."""

    def delete_behind(self, key: CheckpointKey, last: CheckpointKey) -> bool:
        """Remove one record if *last* is there, which came after it; False if it was not removed.

        If it is not, the store went back since, and the one that was old may be the newest now. Stores that
        run stores go back with see to that in the same moment; by default nobody asks.
        """
        return self.delete(key)

    @abstractmethod
    def delete_run(self, run_id: str) -> int:
        """Remove all of a run and return how many records that were."""

    @abstractmethod
    def expires_at(self, run_id: str) -> datetime | None:
        """Return when the run will be gone; None if never, or if it has no records."""

    @abstractmethod
    def expire_run(self, run_id: str, at: datetime | None) -> None:
        """Let the run be gone from *at* on, to the millisecond; None takes that back.

        From then on every method answers as if the run had been deleted; when its bytes are freed
        is the store's affair. A run without records stays without, and one that loses its last
        record loses its expiry.
        """
