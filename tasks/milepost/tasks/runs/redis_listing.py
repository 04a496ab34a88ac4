"""Finding runs in Redis, youngest first: by the narrowest index, and what that does not tell by heads."""

from __future__ import annotations

from abc import abstractmethod
from heapq import merge
from itertools import islice
from typing import Any

import redis

from milepost.checkpointing import Misconfigured, Page
from milepost.checkpointing.redis_connection import ALL_PREFIXES, prefix_of, translated

from ..head import Head, RunStatus
from ..query import EVERY_RUN, RunQuery
from .listing import ErrorGroup, RunListing, cursor_at, position

_BATCH = 2_000
_LONGEST_SEARCH = 10_000
"""How many runs one page goes through at most."""
_TELLING = (
    "pipeline",
    "status",
    "stage",
    "tags",
    "tenant",
    "created_at",
    "version",
    "stages_total",
)
_DERIVED = RunStatus.COMPLETED
"""The status of most runs; counted as what no other status has."""


class RedisListing(RunListing):
    """Reads the indexes that the scripts keep, all shards in one round trip."""

    client: redis.Redis

    @property
    @abstractmethod
    def location(self) -> str:
        """The URL of the store, without its password."""

    def find(
        self, query: RunQuery = EVERY_RUN, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Head]:
        try:
            after = None if cursor is None else position(cursor)
        except ValueError:
            raise Misconfigured("The cursor is none that a listing of runs has given.") from None
        with translated(self.location):
            return self._find(query, after, limit)

    def _find(self, query: RunQuery, after: tuple[int, str] | None, limit: int) -> Page[Head]:
        found: list[Head] = []
        indexes, is_enough = self._narrowest(query)
        batch, searched = limit + 1, 0
        while True:
            names = self._names(indexes, query, after, batch)
            wanted = [run_id for _, run_id in names]
            if not is_enough:
                wanted = self._matching(query, wanted)
            # What has changed since the indexes were read is not shown as what it was.
            found += [head for head in self._heads(wanted) if query.matches(head)]
            searched += len(names)
            if len(names) < batch or len(found) > limit:
                break
            after = names[-1]
            if searched >= _LONGEST_SEARCH:
                return Page(tuple(found), f"{after[0]}.{after[1]}")
            # What the index shows is mostly not wanted.
            batch = min(_BATCH, batch * 2)
        page = tuple(found[:limit])
        return Page(page, cursor_at(page[-1]) if len(found) > limit else None)

    def oldest(self, status: RunStatus, limit: int = 100) -> list[Head]:
        with translated(self.location):
            with self.client.pipeline(transaction=False) as pipe:
                for prefix in ALL_PREFIXES:
                    pipe.zrange(f"{prefix}status:{status}", 0, limit - 1, withscores=True)
                replies = pipe.execute()
            rows = sorted((score, name) for reply in replies for name, score in reply)
            heads = self._heads([name.decode() for _, name in rows[:limit]])
        return [head for head in heads if head.status is status]

    def counts(self) -> dict[tuple[str, RunStatus], int]:
        with translated(self.location):
            with self.client.pipeline(transaction=False) as pipe:
                for prefix in ALL_PREFIXES:
                    pipe.smembers(prefix + "pipelines")
                known = pipe.execute()
            wanted = [
                (prefix, name.decode())
                for prefix, names in zip(ALL_PREFIXES, known, strict=True)
                for name in names
            ]
            others = [status for status in RunStatus if status is not _DERIVED]
            with self.client.pipeline(transaction=False) as pipe:
                for prefix, name in wanted:
                    pipe.zcard(f"{prefix}pipeline:{name}")
                    for status in others:
                        keys = [f"{prefix}pipeline:{name}", f"{prefix}status:{status}"]
                        pipe.zintercard(len(keys), keys)
                replies = iter(pipe.execute())
        counts: dict[tuple[str, RunStatus], int] = {}
        for _, name in wanted:
            total = next(replies)
            for status in others:
                number = next(replies)
                total -= number
                counts[name, status] = counts.get((name, status), 0) + number
            counts[name, _DERIVED] = counts.get((name, _DERIVED), 0) + max(0, total)
        return {place: number for place, number in counts.items() if number}

    def groups(self, limit: int = 100) -> list[ErrorGroup]:
        with translated(self.location):
            with self.client.pipeline(transaction=False) as pipe:
                for prefix in ALL_PREFIXES:
                    pipe.zrevrange(prefix + "groups", 0, limit - 1, withscores=True)
                replies = pipe.execute()
            latest: dict[str, float] = {}
            for name, score in (entry for reply in replies for entry in reply):
                group = name.decode()
                latest[group] = max(score, latest.get(group, 0))
            names = sorted(latest, key=lambda group: latest[group], reverse=True)[:limit]
            return [group for name in names if (group := self._group(name)) is not None]

    def _group(self, name: str) -> ErrorGroup | None:
        with self.client.pipeline(transaction=False) as pipe:
            for prefix in ALL_PREFIXES:
                pipe.zcard(f"{prefix}group:{name}")
                pipe.zrange(f"{prefix}group:{name}", 0, 0, withscores=True)
                pipe.zrevrange(f"{prefix}group:{name}", 0, 0, withscores=True)
            replies = pipe.execute()
        ends = [entry for reply in (*replies[1::3], *replies[2::3]) for entry in reply]
        if not ends:
            return None
        last_id, last_at = max(ends, key=lambda entry: entry[1])
        example = self._heads([last_id.decode()])
        if not example:
            return None
        first_at = min(score for _, score in ends)
        return ErrorGroup(name, sum(replies[::3]), int(first_at), int(last_at), example[0])

    def oldest_due(self) -> int | None:
        with translated(self.location), self.client.pipeline(transaction=False) as pipe:
            for prefix in ALL_PREFIXES:
                pipe.zrange(prefix + "due", 0, 0, withscores=True)
            scores = [int(score) for reply in pipe.execute() for _, score in reply]
        return min(scores, default=None)

    def struggling(self, limit: int = 100) -> list[Head]:
        with translated(self.location):
            with self.client.pipeline(transaction=False) as pipe:
                for prefix in ALL_PREFIXES:
                    pipe.zrevrange(prefix + "struggling", 0, limit - 1)
                replies = pipe.execute()
            heads = self._heads([name.decode() for reply in replies for name in reply])
        # What has changed since the index was read is not shown as what it was.
        worst = [h for h in heads if h.crashes + h.suspicions and not h.status.ended]
        return sorted(worst, key=lambda h: h.crashes + h.suspicions, reverse=True)[:limit]

    def _narrowest(self, query: RunQuery) -> tuple[list[str], bool]:
        """Return the indexes to read: of the conditions given, those that fewest runs meet.

        And whether they tell all: no other condition is left to be looked up in heads.
        """
        given = {
            "pipeline": query.pipeline,
            "tag": query.tag,
            "tenant": query.tenant,
            "group": query.group,
        }
        choices = [[f"{name}:{value}"] for name, value in given.items() if value is not None]
        if query.group is not None:
            # Its scores are times of failure, which say nothing of the order wanted here.
            choices.remove([f"group:{query.group}"])
            choices.append([f"status:{RunStatus.FAILED}"])
        elif query.status:
            choices.append([f"status:{status}" for status in sorted(query.status)])
        if not choices:
            return ["runs"], query.stage is None
        if len(choices) == 1:
            return choices[0], query.stage is None and query.group is None
        with self.client.pipeline(transaction=False) as pipe:
            for choice in choices:
                for index in choice:
                    for prefix in ALL_PREFIXES:
                        pipe.zcard(prefix + index)
            counts = iter(pipe.execute())
        sizes = [sum(next(counts) for _ in choice for _ in ALL_PREFIXES) for choice in choices]
        return min(zip(sizes, choices, strict=True))[1], False

    def _matching(self, query: RunQuery, run_ids: list[str]) -> list[str]:
        """Return those of *run_ids* that meet the query, by the few fields that tell."""
        names = _TELLING if query.group is None else (*_TELLING, "error")
        with self.client.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                pipe.hmget(f"{prefix_of(run_id)}run:{run_id}", names)
            replies = pipe.execute()
        keys = [name.encode() for name in names]
        heads = (
            Head.from_fields(zip((*keys, b"run_id"), (*reply, run_id.encode()), strict=True))
            for run_id, reply in zip(run_ids, replies, strict=True)
            if reply[0]
        )
        return [head.run_id for head in heads if query.matches(head)]

    def _names(
        self, indexes: list[str], query: RunQuery, after: tuple[int, str] | None, limit: int
    ) -> list[tuple[int, str]]:
        """Return (time of creation, run id) from the indexes, youngest first."""
        oldest = 0 if query.since_ms is None else query.since_ms * 1000
        below: int | str = "+inf" if query.until_ms is None else query.until_ms * 1000 - 1
        if after is not None and (below == "+inf" or after[0] < int(below)):
            below = after[0]
        # A shard has its share of the page, or a little more; one that has much more is asked for all.
        share = limit if len(indexes) > 1 else 3 * limit // len(ALL_PREFIXES) + 3
        asked = [prefix + index for prefix in ALL_PREFIXES for index in indexes]
        rows: dict[str, list[tuple[int, str]]] = {}
        while True:
            # In one transaction: a run on its way from one status to the next is then in exactly one index.
            with self.client.pipeline(transaction=len(indexes) > 1) as pipe:
                for key in asked:
                    # Runs made in the same microsecond as the cursor's are listed by name, so they
                    # are fetched again and cut off here.
                    pipe.zrevrangebyscore(
                        key, below, oldest, start=0, num=share + 1, withscores=True
                    )
                replies: list[list[Any]] = pipe.execute()
            for key, reply in zip(asked, replies, strict=True):
                rows[key] = [(int(score), name.decode()) for name, score in reply]
            ordered = merge(*rows.values(), reverse=True)
            page = [*islice((row for row in ordered if after is None or row < after), limit)]
            cut = page[-1] if len(page) == limit else (0, "")
            asked = [key for key in asked if len(rows[key]) > share and rows[key][-1] >= cut]
            if share >= limit or not asked:
                return page
            share = limit

    def _heads(self, run_ids: list[str]) -> list[Head]:
        with self.client.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                pipe.hgetall(f"{prefix_of(run_id)}run:{run_id}")
            replies = pipe.execute()
        # A run deleted since the indexes were read is passed over.
        return [Head.from_fields(raw.items()) for raw in replies if raw]
