"""Listing runs from Redis, youngest first: one round trip for the index, one for the heads."""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import Any

import redis

from milepost.checkpointing import Page
from milepost.checkpointing.redis_connection import ALL_PREFIXES, prefix_of

from ..head import Head, RunStatus


def find(
    client: redis.Redis,
    status: RunStatus | None,
    pipeline: str | None,
    tag: str | None,
    since_ms: int | None,
    cursor: str | None,
    limit: int,
) -> Page[Head]:
    """Answer `RunStore.find`; the cursor is the last run's time of creation and id."""
    found: list[Head] = []
    oldest = since_ms * 1000 if since_ms is not None else 0
    while True:
        names = _names(client, status, pipeline, tag, oldest, cursor, limit + 1)
        for head in _heads(client, [run for _, run in names]):
            matches = (
                (status is None or head.status is status)
                and (pipeline is None or head.pipeline == pipeline)
                and (tag is None or tag in head.tags)
            )
            if matches:
                found.append(head)
        if len(names) <= limit or len(found) > limit:
            break
        cursor = _cursor(*names[-1])
    page = tuple(found[:limit])
    more = len(found) > limit
    return Page(page, _cursor(page[-1].created_at, page[-1].run_id) if more else None)


def _names(
    client: redis.Redis,
    status: RunStatus | None,
    pipeline: str | None,
    tag: str | None,
    oldest: int,
    cursor: str | None,
    limit: int,
) -> list[tuple[int, str]]:
    """Return (time of creation, run id) from the narrowest index, youngest first."""
    indexes = [f"tag:{tag}"] if tag is not None else _status_indexes(status, pipeline)
    below, after = _position(cursor)
    # In one transaction: a run on its way from one status to the next is then in exactly one index.
    with client.pipeline() as pipe:
        for prefix in ALL_PREFIXES:
            for index in indexes:
                # Runs made in the same microsecond as the cursor's are listed by name, so they are
                # fetched again and cut off here.
                pipe.zrevrangebyscore(
                    prefix + index, below, oldest, start=0, num=limit + 1, withscores=True
                )
        replies: list[list[Any]] = pipe.execute()
    rows = [[(int(score), name.decode()) for name, score in reply] for reply in replies]
    ordered = merge(*rows, reverse=True)
    return [*islice((row for row in ordered if after is None or row < after), limit)]


def _status_indexes(status: RunStatus | None, pipeline: str | None) -> list[str]:
    statuses = [status] if status is not None else [*RunStatus]
    suffix = f":{pipeline}" if pipeline is not None else ""
    return [f"status:{each}{suffix}" for each in statuses]


def _heads(client: redis.Redis, run_ids: list[str]) -> list[Head]:
    with client.pipeline(transaction=False) as pipe:
        for run_id in run_ids:
            pipe.hgetall(f"{prefix_of(run_id)}run:{run_id}")
        replies = pipe.execute()
    # A run deleted since the indexes were read is passed over.
    return [Head.from_fields(raw.items()) for raw in replies if raw]


def _cursor(created_at: int, run_id: str) -> str:
    return f"{created_at}.{run_id}"


def _position(cursor: str | None) -> tuple[str | int, tuple[int, str] | None]:
    if cursor is None:
        return "+inf", None
    created, _, run_id = cursor.partition(".")
    return int(created), (int(created), run_id)
