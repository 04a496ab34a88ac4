"""Runs in SQLite or PostgreSQL: an operation is one transaction on the row of its run."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex
from typing import Any, TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from milepost.checkpointing import CheckpointStore
from milepost.checkpointing.sql_connection import Database
from milepost.checkpointing.stores import sql_tables as log_tables
from milepost.checkpointing.stores.sql import SQLCheckpointStore
from milepost.checkpointing.stores.sql_log import SQLLog

from ..head import Head
from ..settings import TaskSettings
from .base import Push
from .book import Book
from .bookkeeper import Bookkeeper
from .sql_book import SQLBook, load
from .sql_listing import SQLListing
from .sql_registry import SQLRegistry
from .sql_tables import VERSION, flows, metadata, runs, state
from .sql_upgrades import UPGRADES

_NOTE_FLOW_MS = 500
"""How much newer a publication must be to be noted; less than the slack that reconcilers give."""
T = TypeVar("T")


class SQLRunStore(SQLListing, SQLRegistry, Bookkeeper):
    """Keeps runs, and the log if it is asked to, in the database at *url*.

    Messages travel through the broker: whatever it is, it is another place.

    Args:
        url: ``sqlite:///path`` or ``postgresql://user:pw@host/db``.
        on_push: Gets the messages of callers that push all the same; a proof of the contract does.

    Raises:
        MissingExtra: SQLAlchemy or psycopg is not installed.
        Refused: The database does not let us in, or a newer Milepost made its tables.
        Unavailable: It does not answer.
    """

    def __init__(
        self,
        url: str,
        settings: TaskSettings | None = None,
        on_push: Callable[[str, str], object] | None = None,
    ) -> None:
        super().__init__(settings)
        self.database = Database(url, self.settings)
        self.database.prepare("checkpoints", log_tables.VERSION, log_tables.metadata)
        self.database.prepare("runs", VERSION, metadata, UPGRADES)
        self._log = SQLLog(self.database.is_sqlite)
        self._on_push = on_push
        self._noted: dict[tuple[str, int], int] = {}
        self._insert: Any = sqlite.insert if self.database.is_sqlite else postgresql.insert

    @property
    def location(self) -> str:
        return self.database.location

    def identity(self) -> str:
        first = self._insert(state).on_conflict_do_nothing()
        row = {"name": "identity", "value": token_hex(8)}
        self.database.single(lambda c: c.execute(first, row))
        return str(self.database.single(_identity))

    def holds_log(self, log: CheckpointStore) -> bool:
        # A URL can be written in many ways; a row seen through both connections proves it.
        if not isinstance(log, SQLCheckpointStore):
            return False
        mine = self.identity()
        theirs = log.database.single(
            lambda c: _identity(c) if c.dialect.has_table(c, state.name) else None
        )
        return theirs == mine

    def work(self, work: Callable[[Book], T], run_id: str | None = None) -> T:
        def whole(connection: Connection) -> T:
            book = SQLBook(connection, self._log, is_sqlite=self.database.is_sqlite)
            result = work(book)
            book.flush()
            return result

        return self.database.transaction(whole, run_id)

    def push(self, push: Push) -> None:
        assert self._on_push is not None, "a database has no queues"
        self._on_push(push.queue_key, push.payload)

    def note_flow(self, queue: str, priority: int, published_at: int) -> None:
        if published_at < self._noted.get((queue, priority), 0) + _NOTE_FLOW_MS:
            return
        self._noted[queue, priority] = published_at
        offer = self._insert(flows)
        newer = offer.on_conflict_do_update(
            index_elements=["queue", "priority"],
            set_={"published_at": offer.excluded.published_at},
            where=flows.c.published_at < offer.excluded.published_at,
        )
        row = {"queue": queue, "priority": priority, "published_at": published_at}
        self.database.single(lambda c: c.execute(newer, row))

    def flows(self) -> dict[tuple[str, int], int]:
        query = select(flows.c.queue, flows.c.priority, flows.c.published_at)
        rows = self.database.single(lambda c: c.execute(query).all())
        return {(queue, priority): published for queue, priority, published in rows}

    def get(self, run_id: str) -> Head | None:
        query = select(runs.c.head).where(runs.c.run_id == run_id)
        text = self.database.single(lambda c: c.execute(query).scalar(), run_id)
        return None if text is None else load(text)

    def close(self) -> None:
        self.database.close()


def _identity(connection: Connection) -> str | None:
    query = select(state.c.value).where(state.c.name == "identity")
    return connection.execute(query).scalar()
