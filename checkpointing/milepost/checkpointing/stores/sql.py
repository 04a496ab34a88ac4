"""Checkpoints in SQLite or PostgreSQL: a row a checkpoint, in the order of its key."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

from ..errors import AlreadyExists, NotFound, Refused
from ..models import MAIN_LANE, CheckpointKey, Kind, Record
from ..page import Page
from ..settings import CheckpointSettings
from ..sql_connection import Database
from .base import CheckpointStore, Entry

_PURGED_AT_ONCE = 100


class SQLCheckpointStore(CheckpointStore):
    """Keeps records in the database at *url*; a put is one statement, which commits by itself.

    Tables are made at the first use; their names begin with ``milepost_``. What was put survives what a
    commit survives: with PostgreSQL's ``synchronous_commit`` on and in SQLite (WAL, ``synchronous=FULL``)
    a power cut. Expired rows are removed when runs are listed or their ids are used again.

    Args:
        url: ``sqlite:///path`` (relative; four slashes: absolute) or ``postgresql://user:pw@host/db``.

    Raises:
        MissingExtra: SQLAlchemy or psycopg is not installed.
        Misconfigured: The URL cannot be read.
        Refused: The database does not let us in, or a newer Milepost made its tables.
        Unavailable: It does not answer.
    """

    def __init__(self, url: str, settings: CheckpointSettings | None = None) -> None:
        self.database = Database(url, settings)
        from . import sql_statements, sql_tables

        self._sql = sql_statements.Statements(self.database.is_sqlite)
        self.database.prepare("checkpoints", sql_tables.VERSION, sql_tables.metadata)

    @property
    def location(self) -> str:
        return self.database.location

    def put(self, record: Record) -> None:
        key, row = record.key, row_of(record)
        put = self.database.single(
            lambda c: c.execute(self._sql.put_if_live, row).rowcount, key.run_id
        )
        if put:
            return

        def settle(connection: Any) -> bool:
            self._sql.clear_expired(connection, key.run_id)
            if connection.execute(self._sql.put, row).rowcount:
                return True
            stands = connection.execute(self._sql.get, row).one()
            return bool((stands.header, stands.body) == (record.header, record.body))

        if not self.database.transaction(settle, key.run_id):
            raise AlreadyExists(f"{key.path} of run {key.run_id} is taken.", key=key)

    def get(self, key: CheckpointKey) -> Record:
        found = self.database.single(
            lambda c: c.execute(self._sql.get, _columns(key)).one_or_none(), key.run_id
        )
        if found is None:
            raise NotFound(f"Run {key.run_id} has no checkpoint {key.path}.", key=key)
        return Record(key, found.header, found.body)

    def latest(self, run_id: str, kind: Kind = Kind.COMMIT, lane: str = MAIN_LANE) -> Record | None:
        series = {"run_id": run_id, "kind": str(kind), "lane": lane}
        found = self.database.single(
            lambda c: c.execute(self._sql.latest, series).one_or_none(), run_id
        )
        if found is None:
            return None
        key = CheckpointKey(run_id, found.sequence, found.timeline, kind, lane)
        return Record(key, found.header, found.body)

    def history(
        self,
        run_id: str,
        kind: Kind = Kind.COMMIT,
        lane: str = MAIN_LANE,
        *,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Entry]:
        below = CheckpointKey.from_path(run_id, cursor) if cursor else None
        query = self._sql.history(run_id, kind, lane, below, limit + 1)
        rows = self.database.single(lambda c: c.execute(query).all(), run_id)
        entries = [
            Entry(
                CheckpointKey(run_id, row.sequence, row.timeline, kind, lane),
                row.header,
                row.body_bytes,
            )
            for row in rows
        ]
        page = tuple(entries[:limit])
        return Page(page, page[-1].key.path if len(entries) > limit else None)

    def runs(self, *, cursor: str | None = None, limit: int = 100) -> Page[str]:
        with suppress(Refused):  # Who may only read may list all the same.
            self.database.transaction(lambda c: self._sql.purge(c, _PURGED_AT_ONCE))
        query = self._sql.runs(cursor or "", limit + 1)
        names = [*self.database.single(lambda c: c.execute(query).scalars().all())]
        page = tuple(names[:limit])
        return Page(page, page[-1] if len(names) > limit else None)

    def delete(self, key: CheckpointKey) -> bool:
        def remove(connection: Any) -> bool:
            self._sql.clear_expired(connection, key.run_id)
            count = connection.execute(self._sql.delete, _columns(key)).rowcount
            connection.execute(self._sql.forget_expiry_of_nothing, {"run_id": key.run_id})
            return bool(count)

        return self.database.transaction(remove, key.run_id)

    def delete_run(self, run_id: str) -> int:
        def remove(connection: Any) -> int:
            self._sql.clear_expired(connection, run_id)
            count = connection.execute(self._sql.delete_run, {"run_id": run_id}).rowcount
            connection.execute(self._sql.forget_expiry, {"run_id": run_id})
            return int(count)

        return self.database.transaction(remove, run_id)

    def expire_run(self, run_id: str, at: datetime | None) -> None:
        statement, values = self._sql.never_expire, {"run_id": run_id, "at_ms": 0}
        if at is not None:
            statement, values["at_ms"] = self._sql.expire, int(at.timestamp() * 1000)
        self.database.single(lambda c: c.execute(statement, values), run_id)

    def close(self) -> None:
        self.database.close()


def row_of(record: Record) -> dict[str, Any]:
    """Return the row that keeps *record*."""
    return {
        **_columns(record.key),
        "header": record.header,
        "body": record.body,
        "body_bytes": len(record.body),
    }


def _columns(key: CheckpointKey) -> dict[str, Any]:
    return {
        "run_id": key.run_id,
        "kind": str(key.kind),
        "lane": key.lane,
        "timeline": key.timeline,
        "sequence": key.sequence,
    }
