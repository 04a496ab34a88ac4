"""A book that is one transaction in SQLite or PostgreSQL."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from milepost.checkpointing import CheckpointKey, Record
from milepost.checkpointing.stores.sql_log import SQLLog
from milepost.checkpointing.stores.sql_tables import now_ms

from ..head import Head, RunStatus
from .book import Book, OwnerEntry
from .sql_tables import owners, runs, state, tags, trials

_NOTE_LOOKS_MS = 250
_FIELDS = tuple(field.name for field in fields(Head))

_PEEK = select(runs.c.head, now_ms()).where(runs.c.run_id == bindparam("run"))
_GET = _PEEK.with_for_update()
_DUE = (
    select(runs.c.head)
    .where(runs.c.due_at <= bindparam("now"))
    .order_by(runs.c.due_at, runs.c.run_id)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_DUE_AT = select(runs.c.due_at).where(runs.c.run_id == bindparam("run"))
_HELD = (
    select(runs.c.head)
    .where(runs.c.owner == bindparam("name"), runs.c.owner != "")
    .order_by(runs.c.run_id)
    .with_for_update()
)
_UPDATE = update(runs).where(runs.c.run_id == bindparam("run"))
_REMOVE = delete(runs).where(runs.c.run_id == bindparam("run"))
_UNTAG = delete(tags).where(tags.c.run_id == bindparam("run"))
_OWNERS = select(owners.c.name, owners.c.until_ms, owners.c.leaving, owners.c.spared)
_OWNER = _OWNERS.where(owners.c.name == bindparam("owner"))
_DROP_OWNER = delete(owners).where(owners.c.name == bindparam("owner"))
_TRIAL = select(trials.c.run_id).where(trials.c.host == bindparam("at_host")).with_for_update()
_SET_TRIAL = update(trials).where(trials.c.host == bindparam("at_host"))
_LOOKED = select(state.c.value).where(state.c.name == "looked")


class SQLBook(Book):
    """Rows that were got are locked until the transaction ends; changes are written by `flush`."""

    def __init__(self, connection: Connection, log: SQLLog, *, is_sqlite: bool) -> None:
        self._connection = connection
        self._log = log
        self._insert: Any = sqlite.insert if is_sqlite else postgresql.insert
        self._now: int | None = None
        self._heads: dict[str, Head] = {}
        self._looks: dict[str, int | None] = {}
        self._changed: dict[str, None] = {}

    @property
    def now(self) -> int:  # type: ignore[override]
        """The database's time; one for all of the work."""
        if self._now is None:
            self._now = int(self._connection.execute(select(now_ms())).scalar_one())
        return self._now

    def flush(self) -> None:
        """Write what was changed."""
        for run_id in self._changed:
            head = self._heads[run_id]
            values: dict[str, Any] = {
                "run": run_id,
                "status": head.status,
                "owner": head.owner,
                **columns(head),
                "head": dump(head),
            }
            if run_id in self._looks:
                values["due_at"] = self._looks.pop(run_id)
            self._connection.execute(_UPDATE, values)
        for run_id, at in self._looks.items():
            self._connection.execute(_UPDATE, {"run": run_id, "due_at": at})
        self._changed.clear()
        self._looks.clear()

    def new_created_at(self) -> int:
        return self.now * 1000

    def get(self, run_id: str) -> Head | None:
        if run_id in self._heads:
            return self._heads[run_id]
        row = self._connection.execute(_GET, {"run": run_id}).one_or_none()
        if row is None:
            return None
        self._now = self._now or int(row[1])
        return self._read(row[0])

    def peek(self, run_id: str) -> Head | None:
        if run_id in self._heads:
            return self._heads[run_id]
        row = self._connection.execute(_PEEK, {"run": run_id}).one_or_none()
        return None if row is None else load(row[0])

    def add(self, head: Head) -> bool:
        row = {
            "run_id": head.run_id,
            "pipeline": head.pipeline,
            "status": head.status,
            "created_at": head.created_at,
            "owner": head.owner,
            "tenant": head.tenant,
            **columns(head),
            "head": dump(head),
        }
        insert = self._insert(runs).on_conflict_do_nothing()
        if not self._connection.execute(insert, row).rowcount:
            return False
        self._heads[head.run_id] = head
        for tag in dict.fromkeys(head.tags):
            self._connection.execute(
                self._insert(tags),
                {"tag": tag, "created_at": head.created_at, "run_id": head.run_id},
            )
        return True

    def change(self, run_id: str, **changes: Any) -> Head:
        self._heads[run_id] = replace(self._heads[run_id], updated_at=self.now, **changes)
        self._changed[run_id] = None
        return self._heads[run_id]

    def remove(self, run_id: str) -> None:
        self._heads.pop(run_id, None)
        self._changed.pop(run_id, None)
        self._looks.pop(run_id, None)
        self._connection.execute(_REMOVE, {"run": run_id})
        self._connection.execute(_UNTAG, {"run": run_id})

    def look_at(self, run_id: str, at: int | None) -> None:
        self._looks[run_id] = at

    def due_at(self, run_id: str) -> int | None:
        if run_id in self._looks:
            return self._looks[run_id]
        return self._connection.execute(_DUE_AT, {"run": run_id}).scalar()

    def due(self, limit: int) -> list[Head]:
        rows = self._connection.execute(_DUE, {"now": self.now, "limit": limit}).scalars()
        return [self._read(row) for row in rows.all()]

    def held_by(self, owner: str) -> list[Head]:
        rows = self._connection.execute(_HELD, {"name": owner}).scalars()
        return [self._read(row) for row in rows.all()]

    def owner(self, name: str, *, to_change: bool = False) -> OwnerEntry | None:
        query = _OWNER.with_for_update() if to_change else _OWNER
        row = self._connection.execute(query, {"owner": name}).one_or_none()
        return None if row is None else OwnerEntry(*row[1:])

    def owners(self) -> dict[str, OwnerEntry]:
        return {row[0]: OwnerEntry(*row[1:]) for row in self._connection.execute(_OWNERS)}

    def keep_owner(self, name: str, entry: OwnerEntry) -> None:
        values = {
            "name": name,
            "until_ms": entry.until,
            "leaving": entry.leaving,
            "spared": entry.spared,
        }
        insert = self._insert(owners)
        changes = {key: insert.excluded[key] for key in ("until_ms", "leaving", "spared")}
        self._connection.execute(
            insert.on_conflict_do_update(index_elements=["name"], set_=changes), values
        )

    def extend_owner(self, name: str, until: int) -> None:
        insert = self._insert(owners)
        later = insert.on_conflict_do_update(
            index_elements=["name"],
            set_={"until_ms": insert.excluded.until_ms},
            where=owners.c.until_ms < insert.excluded.until_ms,
        )
        values = {"name": name, "until_ms": until, "leaving": False, "spared": False}
        self._connection.execute(later, values)

    def drop_owner(self, name: str) -> None:
        self._connection.execute(_DROP_OWNER, {"owner": name})

    def trial_of(self, host: str) -> str:
        # A row to lock, so that of two suspects of a host one sees the other.
        insert = self._insert(trials).on_conflict_do_nothing()
        self._connection.execute(insert, {"host": host, "run_id": ""})
        return str(self._connection.execute(_TRIAL, {"at_host": host}).scalar_one())

    def set_trial(self, host: str, run_id: str) -> None:
        self._connection.execute(_SET_TRIAL, {"at_host": host, "run_id": run_id})

    def looked(self) -> int | None:
        value = self._connection.execute(_LOOKED).scalar()
        if value is None or self.now - int(value) > _NOTE_LOOKS_MS:
            insert = self._insert(state)
            noted = insert.on_conflict_do_update(
                index_elements=["name"], set_={"value": insert.excluded.value}
            )
            self._connection.execute(noted, {"name": "looked", "value": str(self.now)})
        return None if value is None else int(value)

    def read_log(self, key: CheckpointKey) -> Record | None:
        return self._log.get(self._connection, key)

    def write_log(self, record: Record) -> bool:
        return self._log.put(self._connection, record)

    def expire_log(self, run_id: str, at: datetime | None) -> None:
        self._log.expire(self._connection, run_id, at)

    def delete_log(self, run_id: str) -> None:
        self._log.delete_run(self._connection, run_id)

    def _read(self, text: str) -> Head:
        head = load(text)
        return self._heads.setdefault(head.run_id, head)


def columns(head: Head) -> dict[str, str | int]:
    """Return what listings search for and the head's operations change."""
    return {
        "stage": head.stage,
        "error_group": head.error_group,
        "crashes": head.crashes + head.suspicions,
        "finished_at": head.finished_at,
    }


def dump(head: Head) -> str:
    """Write a head as JSON."""
    return json.dumps({name: getattr(head, name) for name in _FIELDS}, separators=(",", ":"))


def load(text: str) -> Head:
    """Read what `dump` wrote; fields of a newer release are passed over."""
    values = {name: value for name, value in json.loads(text).items() if name in _FIELDS}
    return Head(**{**values, "status": RunStatus(values["status"]), "tags": tuple(values["tags"])})
