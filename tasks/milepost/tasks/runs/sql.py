"""Runs in SQLite or PostgreSQL: an operation is one transaction on the row of its run."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, func, insert, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from milepost.checkpointing import CheckpointStore, Page
from milepost.checkpointing.sql_connection import Database
from milepost.checkpointing.stores import sql_tables as log_tables
from milepost.checkpointing.stores.sql import SQLCheckpointStore
from milepost.checkpointing.stores.sql_log import SQLLog
from milepost.checkpointing.stores.sql_tables import now_ms

from ..head import Head, RunStatus
from ..settings import TaskSettings
from .base import Push
from .book import Book
from .bookkeeper import Bookkeeper
from .sql_book import SQLBook, load
from .sql_tables import VERSION, aside, flows, metadata, runs, state, tags

_ASIDE_KEPT = 1000
_NOTE_FLOW_MS = 500
"""How much newer a publication must be to be noted; less than the slack that reconcilers give."""
T = TypeVar("T")


class SQLRunStore(Bookkeeper):
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
        self.database.prepare("runs", VERSION, metadata)
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

    def find(
        self,
        *,
        status: RunStatus | None = None,
        pipeline: str | None = None,
        tag: str | None = None,
        since_ms: int | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Head]:
        created, name = runs.c.created_at, runs.c.run_id
        query = select(runs.c.head)
        if tag is not None:
            created, name = tags.c.created_at, tags.c.run_id
            query = query.join(tags, tags.c.run_id == runs.c.run_id).where(tags.c.tag == tag)
        if status is not None:
            query = query.where(runs.c.status == status)
        if pipeline is not None:
            query = query.where(runs.c.pipeline == pipeline)
        if since_ms is not None:
            query = query.where(created >= since_ms * 1000)
        if cursor is not None:
            at, _, run_id = cursor.partition(".")
            query = query.where(tuple_(created, name) < tuple_(int(at), run_id))
        query = query.order_by(created.desc(), name.desc()).limit(limit + 1)
        found = [
            load(text) for text in self.database.single(lambda c: c.execute(query).scalars().all())
        ]
        page = tuple(found[:limit])
        more = len(found) > limit
        return Page(page, f"{page[-1].created_at}.{page[-1].run_id}" if more else None)

    def put_aside(self, reason: str, message: str) -> None:
        def keep(connection: Connection) -> None:
            connection.execute(
                insert(aside),
                {"reason": reason, "message": message, "at_ms": self._now(connection)},
            )
            newest = connection.execute(select(func.max(aside.c.number))).scalar_one()
            connection.execute(delete(aside).where(aside.c.number <= newest - _ASIDE_KEPT))

        self.database.transaction(keep)

    def aside(self, limit: int = 100) -> list[dict[str, str]]:
        query = select(aside).order_by(aside.c.number.desc()).limit(limit)
        rows = self.database.single(lambda c: c.execute(query).all())
        return [
            {"reason": row.reason, "message": row.message, "at": f"{row.at_ms / 1000:.3f}"}
            for row in rows
        ]

    def close(self) -> None:
        self.database.close()

    def _now(self, connection: Connection) -> int:
        return int(connection.execute(select(now_ms())).scalar_one())


def _identity(connection: Connection) -> str | None:
    query = select(state.c.value).where(state.c.name == "identity")
    return connection.execute(query).scalar()
