"""Checkpoints in Redis or Valkey, laid out for Redis Cluster.

Three keys a run, all in the run's hash slot: ``log:headers:<run>`` and ``log:bodies:<run>`` are
hashes from path to bytes, ``log:paths:<run>`` is a sorted set that orders them. Writing and finding
the last record cost the same at ten and at a million kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from heapq import merge
from typing import Any, NamedTuple

import redis

from ..errors import AlreadyExists, Misconfigured, NotFound
from ..models import MAIN_LANE, CheckpointKey, Kind, Record
from ..page import Page
from ..redaction import redacted
from ..redis_connection import (
    ALL_PREFIXES,
    Scripts,
    open_redis,
    prefix_of,
    translated,
)
from ..settings import CheckpointSettings
from .base import CheckpointStore, Entry

_LONGEST_SECONDS = 1e10
_BATCH_BYTES = 4 * 1024 * 1024
"""How much is sent at once: the server does nothing else while it takes it."""


class LogKeys(NamedTuple):
    """The Redis keys of one run's log."""

    headers: str
    bodies: str
    paths: str
    runs: str

    @classmethod
    def of(cls, run_id: str, root: str = "") -> LogKeys:
        """Return the keys of *run_id*, all of which begin with *root*."""
        prefix = f"{root}{prefix_of(run_id)}"
        return cls(
            f"{prefix}log:headers:{run_id}",
            f"{prefix}log:bodies:{run_id}",
            f"{prefix}log:paths:{run_id}",
            f"{prefix}logs",
        )


class RedisCheckpointStore(CheckpointStore):
    """Keeps records in the Redis or Valkey at *url*; one round trip a call.

    What a crash of the server costs is the server's setting: with ``appendfsync everysec`` up to a
    second of writes, with ``always`` none, without persistence everything.

    Args:
        prefix: What all keys begin with; with one, no run store takes the log for its own.
        ttl_seconds: A run is gone this long after the last write to it; None: never by itself.
    """

    def __init__(
        self,
        url: str,
        settings: CheckpointSettings | None = None,
        *,
        prefix: str = "",
        ttl_seconds: float | None = None,
    ) -> None:
        self._open(redacted(url), open_redis(url, settings), prefix, ttl_seconds)

    def _open(
        self, location: str, client: redis.Redis, prefix: str, ttl_seconds: float | None
    ) -> None:
        if ttl_seconds is not None and not 0 < ttl_seconds <= _LONGEST_SECONDS:
            raise Misconfigured(f"ttl_seconds is {ttl_seconds}: expected seconds, or None.")
        self._location = location
        self.prefix = prefix
        self._ttl_ms = 0 if ttl_seconds is None else max(1, int(ttl_seconds * 1000))
        self.client: redis.Redis = client
        self._scripts = Scripts(
            self.client, __package__, "put", "latest", "history", "delete", "runs"
        )

    @property
    def location(self) -> str:
        return self._location

    def put(self, record: Record) -> None:
        key = record.key
        with translated(self.location, key.run_id):
            stands = self._scripts.call(
                "put",
                self._keys(key.run_id),
                self._put(record),
            )
        if not stands:
            raise AlreadyExists(f"{key.path} of run {key.run_id} is taken.", key=key)

    def put_all(self, records: Sequence[Record]) -> None:
        for batch in _batches(records):
            with translated(self.location), self.client.pipeline(transaction=False) as pipe:
                for record in batch:
                    self._scripts.queue(
                        pipe, "put", self._keys(record.key.run_id), self._put(record)
                    )
                pipe.execute()

    def get(self, key: CheckpointKey) -> Record:
        keys = self._keys(key.run_id)
        with translated(self.location, key.run_id), self.client.pipeline() as pipe:
            pipe.hget(keys.headers, key.path)
            pipe.hget(keys.bodies, key.path)
            header, body = pipe.execute()
        if header is None or body is None:
            raise NotFound(f"Run {key.run_id} has no checkpoint {key.path}.", key=key)
        return Record(key, header, body)

    def latest(self, run_id: str, kind: Kind = Kind.COMMIT, lane: str = MAIN_LANE) -> Record | None:
        return self.latest_of(run_id, (kind,), lane)

    def latest_of(self, run_id: str, kinds: Sequence[Kind], lane: str = MAIN_LANE) -> Record | None:
        series = [f"{kind}/{lane}/" for kind in kinds]
        with translated(self.location, run_id):
            found = self._scripts.call("latest", self._keys(run_id)[:3], series)
        if not found:
            return None
        path, header, body = found
        return Record(CheckpointKey.from_path(run_id, path.decode()), header, body)

    def history(
        self,
        run_id: str,
        kind: Kind = Kind.COMMIT,
        lane: str = MAIN_LANE,
        *,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Entry]:
        with translated(self.location, run_id):
            flat = self._scripts.call(
                "history",
                self._keys(run_id)[:3],
                [f"{kind}/{lane}/", cursor or "", limit + 1],
            )
        rows = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        entries = [
            Entry(CheckpointKey.from_path(run_id, path.decode()), header, size)
            for path, header, size in rows
        ]
        page = tuple(entries[:limit])
        return Page(page, page[-1].key.path if len(entries) > limit else None)

    def runs(self, *, cursor: str | None = None, limit: int = 100) -> Page[str]:
        with translated(self.location), self.client.pipeline(transaction=False) as pipe:
            for prefix in ALL_PREFIXES:
                self._scripts.queue(
                    pipe,
                    "runs",
                    [f"{self.prefix}{prefix}logs"],
                    [f"{self.prefix}{prefix}log:paths:", cursor or "", limit + 1],
                )
            names = [name.decode() for name in merge(*pipe.execute())]
        page = tuple(names[:limit])
        return Page(page, page[-1] if len(names) > limit else None)

    def delete(self, key: CheckpointKey) -> bool:
        with translated(self.location, key.run_id):
            keys = self._keys(key.run_id)
            return bool(self._scripts.call("delete", keys, [key.run_id, key.path, ""]))

    def delete_behind(self, key: CheckpointKey, last: CheckpointKey) -> bool:
        with translated(self.location, key.run_id):
            keys = self._keys(key.run_id)
            return bool(self._scripts.call("delete", keys, [key.run_id, key.path, last.path]))

    def delete_run(self, run_id: str) -> int:
        keys = self._keys(run_id)
        with translated(self.location, run_id), self.client.pipeline() as pipe:
            pipe.zcard(keys.paths)
            pipe.unlink(keys.headers, keys.bodies, keys.paths)
            pipe.zrem(keys.runs, run_id)
            return int(pipe.execute()[0])

    def expires_at(self, run_id: str) -> datetime | None:
        with translated(self.location, run_id):
            at: Any = self.client.pexpiretime(self._keys(run_id).headers)
        return datetime.fromtimestamp(at / 1000, UTC) if at > 0 else None

    def expire_run(self, run_id: str, at: datetime | None) -> None:
        keys = self._keys(run_id)
        with translated(self.location, run_id), self.client.pipeline() as pipe:
            for name in (keys.headers, keys.bodies, keys.paths):
                if at is None:
                    pipe.persist(name)
                else:
                    pipe.pexpireat(name, at)
            pipe.execute()

    def close(self) -> None:
        self.client.close()

    def _put(self, record: Record) -> list[Any]:
        key = record.key
        return [key.run_id, key.path, record.header, record.body, self._ttl_ms]

    def _keys(self, run_id: str) -> LogKeys:
        return LogKeys.of(run_id, self.prefix)


def _batches(records: Sequence[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.body)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
