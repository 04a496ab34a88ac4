"""Checkpoints in SQLite or PostgreSQL: a row a checkpoint, in the order of its key."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import AlreadyExists, NotFound, Refused
from ..models import MAIN_LANE, CheckpointKey, Kind, Record
from ..page import Page
from ..settings import CheckpointSettings
from ..sql_connection import Database
from .base import CheckpointStore, Entry

if TYPE_CHECKING:
    from sqlalchemy import Connection

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
        from . import sql_log, sql_tables

        self._log = sql_log.SQLLog(self.database.is_sqlite)
        self.database.prepare("checkpoints", sql_tables.VERSION, sql_tables.metadata)

    @property
    def location(self) -> str:
        return self.database.location

    def put(self, record: Record) -> None:
        key = record.key
        if self.database.single(lambda c: self._log.put_if_free(c, record), key.run_id):
            return
        if not self.database.transaction(lambda c: self._log.put(c, record), key.run_id):
            raise AlreadyExists(f"{key.path} of run {key.run_id} is taken.", key=key)

    def get(self, key: CheckpointKey) -> Record:
        found = self.database.single(lambda c: self._log.get(c, key), key.run_id)
        if found is None:
            raise NotFound(f"Run {key.run_id} has no checkpoint {key.path}.", key=key)
        return found

    def latest(self, run_id: str, kind: Kind = Kind.COMMIT, lane: str = MAIN_LANE) -> Record | None:
        return self.database.single(lambda c: self._log.latest(c, run_id, kind, lane), run_id)

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
        entries = self.database.single(
            lambda c: self._log.history(c, run_id, kind, lane, below, limit + 1), run_id
        )
        page = tuple(entries[:limit])
        return Page(page, page[-1].key.path if len(entries) > limit else None)

    def runs(self, *, cursor: str | None = None, limit: int = 100) -> Page[str]:
        with suppress(Refused):  # Who may only read may list all the same.
            self.database.transaction(lambda c: self._log.purge(c, _PURGED_AT_ONCE))
        names = self.database.single(lambda c: self._log.runs(c, cursor or "", limit + 1))
        page = tuple(names[:limit])
        return Page(page, page[-1] if len(names) > limit else None)

    def delete(self, key: CheckpointKey) -> bool:
        return self.database.transaction(lambda c: self._log.delete(c, key), key.run_id)

    def delete_behind(self, key: CheckpointKey, last: CheckpointKey) -> bool:
        def delete(connection: Connection) -> bool:
            return self._log.has(connection, last) and self._log.delete(connection, key)

        return self.database.transaction(delete, key.run_id)

    def delete_run(self, run_id: str) -> int:
        return self.database.transaction(lambda c: self._log.delete_run(c, run_id), run_id)

    def expires_at(self, run_id: str) -> datetime | None:
        return self.database.single(lambda c: self._log.expires_at(c, run_id), run_id)

    def expire_run(self, run_id: str, at: datetime | None) -> None:
        self.database.single(lambda c: self._log.expire(c, run_id, at), run_id)

    def close(self) -> None:
        self.database.close()
