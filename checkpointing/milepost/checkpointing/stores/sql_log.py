"""The log of checkpoints within a transaction of SQL, written once for both dialects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    exists,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite

from ..models import CheckpointKey, Kind, Record
from .base import Entry
from .sql_tables import expiry, now_ms, records

_RUN = records.c.run_id == bindparam("run_id")
_SERIES = _RUN & (records.c.kind == bindparam("kind")) & (records.c.lane == bindparam("lane"))
_AT_KEY = (
    _SERIES
    & (records.c.timeline == bindparam("timeline"))
    & (records.c.sequence == bindparam("sequence"))
)


class SQLLog:
    """What a checkpoint store does, on a connection; runs that have expired are as good as deleted."""

    def __init__(self, is_sqlite: bool) -> None:
        insert: Any = sqlite.insert if is_sqlite else postgresql.insert
        names = [column.name for column in records.columns]
        values = [bindparam(column.name, type_=column.type) for column in records.columns]
        expired = exists().where(expiry.c.run_id == bindparam("run_id"), expiry.c.at_ms <= now_ms())
        self._put = insert(records).on_conflict_do_nothing()
        self._put_if_live = (
            insert(records)
            .from_select(names, select(*values).where(~expired))
            .on_conflict_do_nothing()
        )
        self._get = select(records.c.header, records.c.body).where(_AT_KEY, ~expired)
        self._has = select(records.c.sequence).where(_AT_KEY, ~expired)
        self._latest = (
            select(records.c.timeline, records.c.sequence, records.c.header, records.c.body)
            .where(_SERIES, ~expired)
            .order_by(records.c.timeline.desc(), records.c.sequence.desc())
            .limit(1)
        )
        self._history = (
            select(records.c.timeline, records.c.sequence, records.c.header, records.c.body_bytes)
            .where(_SERIES, ~expired)
            .order_by(records.c.timeline.desc(), records.c.sequence.desc())
        )
        self._delete = delete(records).where(_AT_KEY)
        self._delete_run = delete(records).where(_RUN)
        self._forget_expiry = delete(expiry).where(expiry.c.run_id == bindparam("run_id"))
        self._forget_expiry_of_nothing = self._forget_expiry.where(~exists().where(_RUN))
        self._never_expire = self._forget_expiry.where(expiry.c.at_ms > now_ms())
        expire = insert(expiry).from_select(
            ["run_id", "at_ms"],
            select(
                bindparam("run_id", type_=expiry.c.run_id.type),
                bindparam("at_ms", type_=expiry.c.at_ms.type),
            ).where(exists().where(_RUN)),
        )
        self._expire = expire.on_conflict_do_update(
            index_elements=["run_id"],
            set_={"at_ms": expire.excluded.at_ms},
            where=expiry.c.at_ms > now_ms(),
        )

    def put_if_free(self, connection: Connection, record: Record) -> bool:
        """Write a record with one statement; False: something stands there, or stood and has expired."""
        return bool(connection.execute(self._put_if_live, _row(record)).rowcount)

    def put(self, connection: Connection, record: Record) -> bool:
        """Write a record; False if another stands there."""
        row = _row(record)
        self.clear_expired(connection, record.key.run_id)
        if connection.execute(self._put, row).rowcount:
            return True
        stands = connection.execute(self._get, row).one_or_none()
        return stands is not None and tuple(stands) == (record.header, record.body)

    def get(self, connection: Connection, key: CheckpointKey) -> Record | None:
        """Return the record under *key*."""
        found = connection.execute(self._get, _columns(key)).one_or_none()
        return None if found is None else Record(key, found.header, found.body)

    def has(self, connection: Connection, key: CheckpointKey) -> bool:
        """Whether there is a record under *key*."""
        return connection.execute(self._has, _columns(key)).scalar() is not None

    def latest(self, connection: Connection, run_id: str, kind: Kind, lane: str) -> Record | None:
        """Return the last record of a series."""
        series = {"run_id": run_id, "kind": str(kind), "lane": lane}
        found = connection.execute(self._latest, series).one_or_none()
        if found is None:
            return None
        key = CheckpointKey(run_id, found.sequence, found.timeline, kind, lane)
        return Record(key, found.header, found.body)

    def history(
        self,
        connection: Connection,
        run_id: str,
        kind: Kind,
        lane: str,
        below: CheckpointKey | None,
        limit: int,
    ) -> list[Entry]:
        """List a series below a key, last record first, without bodies."""
        query = self._history.limit(limit)
        if below is not None:
            position = tuple_(records.c.timeline, records.c.sequence)
            query = query.where(position < tuple_(below.timeline, below.sequence))
        series = {"run_id": run_id, "kind": str(kind), "lane": lane}
        return [
            Entry(
                CheckpointKey(run_id, row.sequence, row.timeline, kind, lane),
                row.header,
                row.body_bytes,
            )
            for row in connection.execute(query, series)
        ]

    def runs(self, connection: Connection, after: str, limit: int) -> list[str]:
        """List names of runs, skipping from one to the next in the index."""
        first = select(func.min(records.c.run_id).label("run_id")).where(records.c.run_id > after)
        names = first.cte("names", recursive=True)
        following = select(func.min(records.c.run_id)).where(records.c.run_id > names.c.run_id)
        names = names.union_all(
            select(following.scalar_subquery()).where(names.c.run_id.is_not(None))
        )
        gone = exists().where(expiry.c.run_id == names.c.run_id, expiry.c.at_ms <= now_ms())
        query = select(names.c.run_id).where(names.c.run_id.is_not(None), ~gone).limit(limit)
        return [*connection.execute(query).scalars()]

    def delete(self, connection: Connection, key: CheckpointKey) -> bool:
        """Remove one record; False if there was none."""
        self.clear_expired(connection, key.run_id)
        count = connection.execute(self._delete, _columns(key)).rowcount
        connection.execute(self._forget_expiry_of_nothing, {"run_id": key.run_id})
        return bool(count)

    def delete_run(self, connection: Connection, run_id: str) -> int:
        """Remove a run and return how many records it had."""
        self.clear_expired(connection, run_id)
        count = connection.execute(self._delete_run, {"run_id": run_id}).rowcount
        connection.execute(self._forget_expiry, {"run_id": run_id})
        return int(count)

    def expires_at(self, connection: Connection, run_id: str) -> datetime | None:
        """Return when a run will be gone; None if never, or if it is."""
        query = select(expiry.c.at_ms).where(expiry.c.run_id == run_id, expiry.c.at_ms > now_ms())
        at = connection.execute(query).scalar()
        return None if at is None else datetime.fromtimestamp(at / 1000, UTC)

    def expire(self, connection: Connection, run_id: str, at: datetime | None) -> None:
        """Let a run be gone from *at* on; None: never."""
        if at is None:
            connection.execute(self._never_expire, {"run_id": run_id})
        else:
            values = {"run_id": run_id, "at_ms": int(at.timestamp() * 1000)}
            connection.execute(self._expire, values)

    def clear_expired(self, connection: Connection, run_id: str) -> None:
        """Remove a run whose time is over; of several that try, one does."""
        # The row is locked by its deletion: whoever comes second finds it gone.
        over = delete(expiry).where(expiry.c.run_id == run_id, expiry.c.at_ms <= now_ms())
        if connection.execute(over).rowcount:
            connection.execute(self._delete_run, {"run_id": run_id})

    def purge(self, connection: Connection, limit: int) -> None:
        """Remove up to *limit* runs whose time is over."""
        over = select(expiry.c.run_id).where(expiry.c.at_ms <= now_ms()).limit(limit)
        for run_id in connection.execute(over).scalars().all():
            self.clear_expired(connection, run_id)


def _row(record: Record) -> dict[str, Any]:
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
