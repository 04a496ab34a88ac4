"""Listing runs from Redis, youngest first: by the narrowest index, and what that does not tell by heads."""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import Any

import redis

from milepost.checkpointing import Page
from milepost.checkpointing.redis_connection import ALL_PREFIXES, prefix_of

from ..head import Head, RunStatus

_LARGEST_BATCH = 2_000


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
    indexes = _narrowest(client, status, pipeline, tag)
    batch = limit + 1
    while True:
        names = _names(client, indexes, oldest, cursor, batch)
        for head in _heads(client, [run for _, run in names]):
            matches = (
                (status is None or head.status is status)
                and (pipeline is None or head.pipeline == pipeline)
                and (tag is None or tag in head.tags)
            )
            if matches:
                found.append(head)
        if len(names) < batch or len(found) > limit:
            break
        cursor = _cursor(*names[-1])
        # What the index shows is mostly not wanted.
        batch = min(_LARGEST_BATCH, batch * 2)
    page = tuple(found[:limit])
    more = len(found) > limit
    return Page(page, _cursor(page[-1].created_at, page[-1].run_id) if more else None)


def _narrowest(
    client: redis.Redis, status: RunStatus | None, pipeline: str | None, tag: str | None
) -> list[str]:
    """Return the indexes to read: of the conditions given, that which fewest runs meet."""
    given = {"status": status, "pipeline": pipeline, "tag": tag}
    indexes = [f"{name}:{value}" for name, value in given.items() if value is not None]
    if not indexes:
        return [f"status:{each}" for each in RunStatus]
    if len(indexes) == 1:
        return indexes
    with client.pipeline(transaction=False) as pipe:
        for index in indexes:
            for prefix in ALL_PREFIXES:
                pipe.zcard(prefix + index)
        counts = pipe.execute()
    width = len(ALL_PREFIXES)
    sizes = [sum(counts[at : at + width]) for at in range(0, len(counts), width)]
    return [min(zip(sizes, indexes, strict=True))[1]]


def _names(
    client: redis.Redis, indexes: list[str], oldest: int, cursor: str | None, limit: int
) -> list[tuple[int, str]]:
    """Return (time of creation, run id) from the indexes, youngest first."""
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
