"""The statements of the SQL checkpoint store, written once for both dialects."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Connection,
    Executable,
    Select,
    bindparam,
    delete,
    exists,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite

from ..models import CheckpointKey, Kind
from .sql_tables import expiry, now_ms, records

_KEY = (records.c.run_id, records.c.kind, records.c.lane, records.c.timeline, records.c.sequence)
_RUN = records.c.run_id == bindparam("run_id")
_SERIES = _RUN & (records.c.kind == bindparam("kind")) & (records.c.lane == bindparam("lane"))
_AT_KEY = (
    _SERIES
    & (records.c.timeline == bindparam("timeline"))
    & (records.c.sequence == bindparam("sequence"))
)


class Statements:
    """Statements take the columns of a key by name; runs that have expired are as good as deleted."""

    def __init__(self, is_sqlite: bool) -> None:
        self._is_sqlite = is_sqlite
        insert: Any = sqlite.insert if is_sqlite else postgresql.insert
        names = [column.name for column in records.columns]
        values = [bindparam(column.name, type_=column.type) for column in records.columns]
        expired = exists().where(expiry.c.run_id == bindparam("run_id"), expiry.c.at_ms <= now_ms())
        self.put = insert(records).on_conflict_do_nothing()
        self.put_if_live = (
            insert(records)
            .from_select(names, select(*values).where(~expired))
            .on_conflict_do_nothing()
        )
        self.get = select(records.c.header, records.c.body).where(_AT_KEY, ~expired)
        self.latest = (
            select(records.c.timeline, records.c.sequence, records.c.header, records.c.body)
            .where(_SERIES, ~expired)
            .order_by(records.c.timeline.desc(), records.c.sequence.desc())
            .limit(1)
        )
        self.delete = delete(records).where(_AT_KEY)
        self.delete_run = delete(records).where(_RUN)
        self.forget_expiry = delete(expiry).where(expiry.c.run_id == bindparam("run_id"))
        self.forget_expiry_of_nothing = self.forget_expiry.where(~exists().where(_RUN))
        self.never_expire = self.forget_expiry.where(expiry.c.at_ms > now_ms())
        expire = insert(expiry).from_select(
            ["run_id", "at_ms"],
            select(
                bindparam("run_id", type_=expiry.c.run_id.type),
                bindparam("at_ms", type_=expiry.c.at_ms.type),
            ).where(exists().where(_RUN)),
        )
        self.expire = expire.on_conflict_do_update(
            index_elements=["run_id"],
            set_={"at_ms": expire.excluded.at_ms},
            where=expiry.c.at_ms > now_ms(),
        )

    def history(
        self, run_id: str, kind: Kind, lane: str, below: CheckpointKey | None, limit: int
    ) -> Executable:
        """Select a page of a series, last record first, without bodies."""
        columns = (
            records.c.timeline,
            records.c.sequence,
            records.c.header,
            records.c.body_bytes,
        )
        query: Select[Any] = (
            select(*columns)
            .where(_SERIES, ~_is_gone(run_id))
            .order_by(records.c.timeline.desc(), records.c.sequence.desc())
            .limit(limit)
        )
        if below is not None:
            position = tuple_(records.c.timeline, records.c.sequence)
            query = query.where(position < tuple_(below.timeline, below.sequence))
        return query.params(run_id=run_id, kind=str(kind), lane=lane)

    def runs(self, after: str, limit: int) -> Executable:
        """Select names of runs, skipping from one to the next in the index."""
        first = select(func.min(records.c.run_id).label("run_id")).where(records.c.run_id > after)
        names = first.cte("names", recursive=True)
        following = select(func.min(records.c.run_id)).where(records.c.run_id > names.c.run_id)
        names = names.union_all(
            select(following.scalar_subquery()).where(names.c.run_id.is_not(None))
        )
        gone = exists().where(expiry.c.run_id == names.c.run_id, expiry.c.at_ms <= now_ms())
        return select(names.c.run_id).where(names.c.run_id.is_not(None), ~gone).limit(limit)

    def clear_expired(self, connection: Connection, run_id: str) -> None:
        """Remove a run whose time is over; of several that try, one does."""
        # The row is locked by its deletion: whoever comes second finds it gone.
        over = delete(expiry).where(expiry.c.run_id == run_id, expiry.c.at_ms <= now_ms())
        if connection.execute(over).rowcount:
            connection.execute(self.delete_run, {"run_id": run_id})

    def purge(self, connection: Connection, limit: int) -> None:
        """Remove up to *limit* runs whose time is over."""
        over = select(expiry.c.run_id).where(expiry.c.at_ms <= now_ms()).limit(limit)
        for run_id in connection.execute(over).scalars().all():
            self.clear_expired(connection, run_id)


def _is_gone(run_id: str) -> Any:
    return exists().where(expiry.c.run_id == literal(run_id), expiry.c.at_ms <= now_ms())
