"""Finding runs in SQL: by columns that stand beside the heads."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select, tuple_

from milepost.checkpointing import Misconfigured, Page
from milepost.checkpointing.sql_connection import Database

from ..head import Head, RunStatus
from ..query import EVERY_RUN, RunQuery
from .listing import ErrorGroup, RunListing, cursor_at, position
from .sql_book import load
from .sql_tables import runs, tags

_ENDED = tuple(status for status in RunStatus if status.ended)


class SQLListing(RunListing):
    """Each listing is one statement, groups one more for each example."""

    database: Database

    def find(
        self, query: RunQuery = EVERY_RUN, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Head]:
        created, name = runs.c.created_at, runs.c.run_id
        rows = select(runs.c.head)
        if query.tag is not None:
            created, name = tags.c.created_at, tags.c.run_id
            rows = rows.join(tags, tags.c.run_id == runs.c.run_id).where(tags.c.tag == query.tag)
        if cursor is not None:
            try:
                after = position(cursor)
            except ValueError:
                raise Misconfigured(
                    "The cursor is none that a listing of runs has given."
                ) from None
            rows = rows.where(tuple_(created, name) < tuple_(*after))
        rows = _narrowed(rows, query, created).order_by(created.desc(), name.desc())
        rows = rows.limit(limit + 1)
        found = [load(text) for text in self._all(rows)]
        page = tuple(found[:limit])
        return Page(page, cursor_at(page[-1]) if len(found) > limit else None)

    def oldest(self, status: RunStatus, limit: int = 100) -> list[Head]:
        first = (
            select(runs.c.head)
            .where(runs.c.status == status)
            .order_by(runs.c.created_at, runs.c.run_id)
            .limit(limit)
        )
        return [load(text) for text in self._all(first)]

    def counts(self) -> dict[tuple[str, RunStatus], int]:
        query = select(runs.c.pipeline, runs.c.status, func.count()).group_by(
            runs.c.pipeline, runs.c.status
        )
        rows = self.database.single(lambda c: c.execute(query).all())
        return {(pipeline, RunStatus(status)): number for pipeline, status, number in rows}

    def groups(self, limit: int = 100) -> list[ErrorGroup]:
        last = func.max(runs.c.finished_at)
        query = (
            select(runs.c.error_group, func.count(), func.min(runs.c.finished_at), last)
            .where(runs.c.status == RunStatus.FAILED)
            .group_by(runs.c.error_group)
            .order_by(last.desc())
            .limit(limit)
        )
        rows = self.database.single(lambda c: c.execute(query).all())
        return [
            ErrorGroup(group, number, first_at, last_at, example[0])
            for group, number, first_at, last_at in rows
            if (example := self._latest_of(group))
        ]

    def oldest_due(self) -> int | None:
        query = select(func.min(runs.c.due_at))
        return self.database.single(lambda c: c.execute(query).scalar())

    def struggling(self, limit: int = 100) -> list[Head]:
        worst = (
            select(runs.c.head)
            .where(runs.c.crashes > 0, runs.c.status.not_in(_ENDED))
            .order_by(runs.c.crashes.desc(), runs.c.run_id)
            .limit(limit)
        )
        return [load(text) for text in self._all(worst)]

    def _latest_of(self, group: str) -> list[Head]:
        latest = (
            select(runs.c.head)
            .where(runs.c.status == RunStatus.FAILED, runs.c.error_group == group)
            .order_by(runs.c.finished_at.desc())
            .limit(1)
        )
        return [load(text) for text in self._all(latest)]

    def _all(self, query: Select[tuple[str]]) -> Any:
        return self.database.single(lambda c: c.execute(query).scalars().all())


def _narrowed(rows: Select[tuple[str]], query: RunQuery, created: Any) -> Select[tuple[str]]:
    if query.status:
        rows = rows.where(runs.c.status.in_(sorted(query.status)))
    columns = {
        runs.c.pipeline: query.pipeline,
        runs.c.stage: query.stage,
        runs.c.error_group: query.group,
        runs.c.tenant: query.tenant,
    }
    for column, wanted in columns.items():
        if wanted is not None:
            rows = rows.where(column == wanted)
    if query.since_ms is not None:
        rows = rows.where(created >= query.since_ms * 1000)
    if query.until_ms is not None:
        rows = rows.where(created < query.until_ms * 1000)
    return rows
