"""Entries, notes and unusable messages in SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from milepost.checkpointing.sql_connection import Database
from milepost.checkpointing.stores.sql_tables import now_ms

from .registry import ASIDE_KEPT, NOTES_OF_ALL, Note, Registry
from .sql_tables import aside, entries, notes, runs, state


class SQLRegistry(Registry):
    """A table each; the oldest rows go when new ones come."""

    database: Database

    def keep(self, kind: str, name: str, value: str | None) -> None:
        this = (entries.c.kind == kind) & (entries.c.name == name)
        statement: Any = delete(entries).where(this)
        if value is not None:
            insert = self._insert_into(entries).values(kind=kind, name=name, value=value)
            statement = insert.on_conflict_do_update(
                index_elements=["kind", "name"], set_={"value": insert.excluded.value}
            )
        self.database.single(lambda c: c.execute(statement))

    def keep_first(self, kind: str, name: str, value: str) -> str:
        row = self._insert_into(entries).values(kind=kind, name=name, value=value)
        self.database.single(lambda c: c.execute(row.on_conflict_do_nothing()))
        return self.kept_one(kind, name) or value

    def kept(self, kind: str) -> dict[str, str]:
        query = select(entries.c.name, entries.c.value).where(entries.c.kind == kind)
        rows = self.database.single(lambda c: c.execute(query).all())
        return {row.name: row.value for row in rows}

    def kept_one(self, kind: str, name: str) -> str | None:
        query = select(entries.c.value).where(entries.c.kind == kind, entries.c.name == name)
        return self.database.single(lambda c: c.execute(query).scalar())

    def now(self) -> int:
        return self.database.single(_now)

    def last_look(self) -> int | None:
        query = select(state.c.value).where(state.c.name == "looked")
        looked = self.database.single(lambda c: c.execute(query).scalar())
        return None if looked is None else int(looked)

    def note(self, *written: Note) -> None:
        def write(connection: Connection) -> None:
            now = _now(connection)
            rows = [
                {
                    "run_id": n.run_id,
                    "by": n.by,
                    "command": n.command,
                    "detail": n.detail,
                    "at_ms": now,
                }
                for n in written
            ]
            connection.execute(insert(notes), rows)
            _thin(connection, notes, NOTES_OF_ALL)

        self.database.transaction(write)

    def notes(self, run_id: str | None = None, limit: int = 100) -> list[Note]:
        query = select(notes).order_by(notes.c.number.desc()).limit(limit)
        if run_id is not None:
            # Those of a run that is no more are left to the notes of all.
            begun = select(runs.c.created_at).where(runs.c.run_id == run_id).scalar_subquery()
            query = query.where(notes.c.run_id == run_id, notes.c.at_ms >= begun // 1000)
        rows = self.database.single(lambda c: c.execute(query).all())
        return [Note(row.run_id, row.by, row.command, row.detail, row.at_ms) for row in rows]

    def put_aside(self, reason: str, message: str) -> None:
        def keep(connection: Connection) -> None:
            row = {"reason": reason, "message": message, "at_ms": _now(connection)}
            connection.execute(insert(aside), row)
            _thin(connection, aside, ASIDE_KEPT)

        self.database.transaction(keep)

    def aside(self, limit: int = 100) -> list[dict[str, str]]:
        query = select(aside).order_by(aside.c.number.desc()).limit(limit)
        rows = self.database.single(lambda c: c.execute(query).all())
        return [
            {"reason": row.reason, "message": row.message, "at": f"{row.at_ms / 1000:.3f}"}
            for row in rows
        ]

    def _insert_into(self, table: Table) -> Any:
        return sqlite.insert(table) if self.database.is_sqlite else postgresql.insert(table)


def _now(connection: Connection) -> int:
    return int(connection.execute(select(now_ms())).scalar_one())


def _thin(connection: Connection, table: Table, kept: int) -> None:
    newest = connection.execute(select(func.max(table.c.number))).scalar_one()
    connection.execute(delete(table).where(table.c.number <= newest - kept))
