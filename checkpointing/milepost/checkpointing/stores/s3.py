"""Checkpoints in S3 or any server that honours ``If-None-Match: *``.

One object a checkpoint, header and body together, under
``<prefix>/<run>!/<kind>/<lane>/<timeline>.<sequence>``. Both numbers are written inverted, so that
the last record is the first of a listing. ``!`` sorts below all that an id may hold, so that runs
are listed in the order of their names: ``a`` before ``a-1``. The object ``<prefix>/<run>!/!expires``
says when a run expires; every call on a run reads it first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from random import uniform
from secrets import token_hex
from time import sleep
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from ..envelope import PREFIX, header_bytes, split
from ..errors import (
    AlreadyExists,
    Misconfigured,
    NotFound,
    Refused,
    Unavailable,
)
from ..models import MAIN_LANE, CheckpointKey, Kind, Record
from ..page import Page
from ..redaction import redacted
from ..redis_connection import read_url
from ..settings import CheckpointSettings
from .base import CheckpointStore, Entry
from .s3_client import Conflicted, open_client, translated

_TOP = (1 << 32) - 1
_EXPIRES = "!expires"
_HEADER_GUESS = PREFIX + 2048
_LISTED_AT_ONCE = 1000
_CONFLICTS = 6
_STALE = 5
"""How often an object is asked for in vain that is still listed."""
_OPTIONS = frozenset({"endpoint_url", "region_name"})


class _Object(NamedTuple):
    name: str
    size: int
    etag: str


class S3CheckpointStore(CheckpointStore):
    """Keeps records in the bucket and prefix of *url*; a GET and a PUT a checkpoint, create-only.

    Credentials come from the environment, profile or role, as everywhere with boto3; the URL's user
    and password, if given, are the access key's. Runs expire by the clock of the process that asks;
    their objects are removed when their names are listed or used again.

    Args:
        url: ``s3://bucket/prefix``, optionally with ``?endpoint_url=…&region_name=…``.

    Raises:
        MissingExtra: boto3 is not installed.
        Misconfigured: The URL names no bucket or an unknown option.
        Refused: The server writes over an object in spite of ``If-None-Match: *``; on such a server
            two workers could both believe they had written a checkpoint. Also: no such bucket, no
            permission.
        Unavailable: The server does not answer.
    """

    def __init__(self, url: str, settings: CheckpointSettings | None = None) -> None:
        parts = read_url(url)
        options = dict(parse_qsl(parts.query))
        if not parts.hostname or parts.port is not None or not options.keys() <= _OPTIONS:
            raise Misconfigured(
                f"{redacted(url)} is no S3 URL: expected s3://bucket/prefix with at most the "
                f"options {', '.join(sorted(_OPTIONS))}."
            )
        s3 = open_client(parts.username, parts.password, options, settings or CheckpointSettings())
        self._open(redacted(url), s3, parts.hostname, parts.path)

    def _open(self, location: str, s3: Any, bucket: str, prefix: str) -> None:
        self._location = location
        self._bucket = bucket
        self._root = f"{prefix.strip('/')}/".lstrip("/")
        self._s3 = s3
        self._threads = ThreadPoolExecutor(8, "milepost-s3")
        self._probe()

    @property
    def location(self) -> str:
        return self._location

    def put(self, record: Record) -> None:
        key, data = record.key, record.header + record.body
        if self._is_gone(key.run_id):
            self._clear(key.run_id)
        while not self._create(self._name(key), data, key.run_id):
            # If it cannot be found after all, it was deleted since, and the key is free again.
            with suppress(NotFound):
                if self._read_record(key) == data:
                    return
                raise AlreadyExists(f"{key.path} of run {key.run_id} is taken.", key=key)

    def put_all(self, records: Sequence[Record]) -> None:
        for run_id in {record.key.run_id for record in records}:
            if self._is_gone(run_id):
                self._clear(run_id)

        def put(record: Record) -> None:
            self._create(self._name(record.key), record.header + record.body, record.key.run_id)

        for _ in self._threads.map(put, records):
            pass

    def get_all(self, keys: Sequence[CheckpointKey]) -> list[Record]:
        for run_id in {key.run_id for key in keys}:
            if self._is_gone(run_id):
                raise NotFound(f"Run {run_id} has expired.", run_id=run_id)
        return [*self._threads.map(self._record, keys)]

    def get(self, key: CheckpointKey) -> Record:
        if self._is_gone(key.run_id):
            raise NotFound(f"Run {key.run_id} has expired.", key=key)
        return self._record(key)

    def latest(self, run_id: str, kind: Kind = Kind.COMMIT, lane: str = MAIN_LANE) -> Record | None:
        return self.latest_of(run_id, (kind,), lane)

    def latest_of(self, run_id: str, kinds: Sequence[Kind], lane: str = MAIN_LANE) -> Record | None:
        run = self._run(run_id)
        # Of a run's objects the one that says when it expires is listed first, and then commits: of those one
        # listing tells both whether the run lives and which is the last.
        # (Before both, consoles list the "folder" that they make.)
        listed = [item.name for item in self._list(run, limit=3) if item.name]
        if _EXPIRES in listed and self._is_gone(run_id):
            return None
        names = [run + name for name in listed if name != _EXPIRES]
        if not names:
            return None
        for kind in kinds:
            series = self._series(run_id, kind, lane)
            name = names[0] if names[0].startswith(series) else None
            if names[0] < series:
                name = self._first(series)
            asked = 0
            while name:
                with suppress(NotFound):
                    return self._record(_key(run_id, kind, lane, name[len(series) :]))
                # It was deleted since, or a cache on the way has not heard of it.
                before, name = name, self._first(series)
                asked = asked + 1 if name == before else 0
                if asked == _STALE:
                    raise Unavailable(
                        f"S3 at {self.location} lists {name} and does not have it. Is there a cache in "
                        "front of it, or has it lost data?",
                        run_id=run_id,
                    )
        return None

    def history(
        self,
        run_id: str,
        kind: Kind = Kind.COMMIT,
        lane: str = MAIN_LANE,
        *,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Entry]:
        if self._is_gone(run_id):
            return Page(())
        after = _inverted(CheckpointKey.from_path(run_id, cursor)) if cursor else ""
        listed = self._list(self._series(run_id, kind, lane), limit=limit + 1, after=after)
        keys = [_key(run_id, kind, lane, item.name) for item in listed[:limit]]
        entries = self._threads.map(self._entry, keys, [item.size for item in listed])
        return Page(
            tuple(entry for entry in entries if entry),
            keys[-1].path if len(listed) > limit else None,
        )

    def runs(self, *, cursor: str | None = None, limit: int = 100) -> Page[str]:
        found = self._run_names(cursor, limit + 1)
        live: list[str] = []
        while len(live) <= limit and (names := list(islice(found, limit + 1 - len(live)))):
            is_live = self._threads.map(self._is_live, names)
            live += [name for name, lives in zip(names, is_live, strict=True) if lives]
        page = tuple(live[:limit])
        return Page(page, page[-1] if len(live) > limit else None)

    def delete(self, key: CheckpointKey) -> bool:
        if self._is_gone(key.run_id):
            return False
        existed = bool(self._list(self._name(key), limit=1))
        self._delete(self._name(key), key.run_id)
        if not self._has_records(key.run_id):
            self._delete(self._run(key.run_id) + _EXPIRES, key.run_id)
        return existed

    def delete_run(self, run_id: str) -> int:
        gone, count, run = self._is_gone(run_id), 0, self._run(run_id)
        # What says that the run is gone goes last, lest a death in here bring half of it back.
        while found := self._list(run, limit=_LISTED_AT_ONCE, after=_EXPIRES):
            names = [{"Key": run + item.name} for item in found]
            with translated(self.location, run_id):
                reply = self._s3.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": names, "Quiet": True}
                )
            if errors := reply.get("Errors"):
                raise Refused(
                    f"S3 at {self.location} did not delete {len(errors)} objects of run {run_id}: "
                    f"{errors[0].get('Code')} {errors[0].get('Message')}",
                    run_id=run_id,
                )
            count += len(found)
        self._delete(run + _EXPIRES, run_id)
        return 0 if gone else count

    def expires_at(self, run_id: str) -> datetime | None:
        at = self._expiry(run_id)
        gone = at is None or at <= _milliseconds(datetime.now(UTC))
        return None if gone or at is None else datetime.fromtimestamp(at / 1000, UTC)

    def expire_run(self, run_id: str, at: datetime | None) -> None:
        if self._is_gone(run_id):
            return
        name = self._run(run_id) + _EXPIRES
        if at is None:
            self._delete(name, run_id)
        elif self._has_records(run_id):
            with translated(self.location, run_id):
                self._s3.put_object(Bucket=self._bucket, Key=name, Body=b"%d" % _milliseconds(at))

    def close(self) -> None:
        self._threads.shutdown(wait=False)
        self._s3.close()

    def _run(self, run_id: str) -> str:
        return f"{self._root}{run_id}!/"

    def _series(self, run_id: str, kind: Kind, lane: str) -> str:
        return f"{self._run(run_id)}{kind}/{lane}/"

    def _name(self, key: CheckpointKey) -> str:
        return self._series(key.run_id, key.kind, key.lane) + _inverted(key)

    def _expiry(self, run_id: str) -> int | None:
        with suppress(NotFound):
            return int(self._read(self._run(run_id) + _EXPIRES, run_id))
        return None

    def _is_gone(self, run_id: str) -> bool:
        at = self._expiry(run_id)
        return at is not None and at <= _milliseconds(datetime.now(UTC))

    def _has_records(self, run_id: str) -> bool:
        return bool(self._list(self._run(run_id), limit=1, after=_EXPIRES))

    def _is_live(self, run_id: str) -> bool:
        if not self._is_gone(run_id):
            return self._has_records(run_id)
        with suppress(Refused):  # Who may only read may list all the same.
            self._clear(run_id)
        return False

    def _clear(self, run_id: str) -> None:
        """Remove what is left of an expired run, and nothing that others write there meanwhile."""
        run = self._run(run_id)
        while found := self._list(run, limit=_LISTED_AT_ONCE):
            # Only while it still says "gone" does the listing hold old records alone; and by
            # their ETags no record is taken for an old one of its name.
            if not self._is_gone(run_id):
                return
            for item in found[1:] or found:
                with suppress(AlreadyExists, NotFound):
                    self._delete(run + item.name, run_id, IfMatch=item.etag)

    def _run_names(self, cursor: str | None, count: int) -> Iterator[str]:
        # "0" follows "/": with it the listing goes on behind all objects of the run.
        after = f"{self._run(cursor)[:-1]}0" if cursor else ""
        for page in self._pages(self._root, after, count, Delimiter="/"):
            for item in page.get("CommonPrefixes", []):
                if item["Prefix"].endswith("!/"):
                    yield item["Prefix"][len(self._root) : -2]

    def _first(self, prefix: str) -> str | None:
        return next((prefix + item.name for item in self._list(prefix, limit=1)), None)

    def _list(self, prefix: str, *, limit: int, after: str = "") -> list[_Object]:
        found = (
            _Object(item["Key"][len(prefix) :], item["Size"], item["ETag"])
            for page in self._pages(prefix, after and prefix + after, limit)
            for item in page.get("Contents", [])
        )
        return list(islice(found, limit))

    def _pages(self, prefix: str, after: str, count: int, **more: str) -> Iterator[dict[str, Any]]:
        with translated(self.location):
            yield from self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket,
                Prefix=prefix,
                StartAfter=after,
                PaginationConfig={"PageSize": min(count, _LISTED_AT_ONCE)},
                **more,
            )

    def _record(self, key: CheckpointKey) -> Record:
        data = self._read_record(key)
        return Record(key, *split(data))

    def _entry(self, key: CheckpointKey, size: int) -> Entry | None:
        try:
            # Of an empty object no range can be read.
            data = self._read_record(key, _HEADER_GUESS) if size else b""
            if header_bytes(data) > len(data) and len(data) < size:
                data = self._read_record(key, header_bytes(data))
        except NotFound:
            return None
        header = data[: header_bytes(data)]
        return Entry(key, header, size - len(header))

    def _read_record(self, key: CheckpointKey, first_bytes: int | None = None) -> bytes:
        try:
            return self._read(self._name(key), key.run_id, first_bytes)
        except NotFound as error:
            message = f"Run {key.run_id} has no checkpoint {key.path}."
            raise NotFound(message, key=key) from error

    def _read(self, name: str, run_id: str, first_bytes: int | None = None) -> bytes:
        part = {"Range": f"bytes=0-{first_bytes - 1}"} if first_bytes else {}
        with translated(self.location, run_id):
            reply = self._s3.get_object(Bucket=self._bucket, Key=name, **part)
            body: bytes = reply["Body"].read()
        return body

    def _delete(self, name: str, run_id: str | None = None, **condition: str) -> None:
        with translated(self.location, run_id):
            self._s3.delete_object(Bucket=self._bucket, Key=name, **condition)

    def _create(self, name: str, data: bytes, run_id: str | None = None) -> bool:
        """Write an object if there is none; False if there is."""
        for attempt in range(_CONFLICTS):
            try:
                with translated(self.location, run_id):
                    self._s3.put_object(Bucket=self._bucket, Key=name, Body=data, IfNoneMatch="*")
            except AlreadyExists:
                return False
            except Conflicted:
                if attempt == _CONFLICTS - 1:
                    raise
                sleep(uniform(0.01, 0.05) * 2**attempt)
            else:
                return True
        raise AssertionError("unreachable")

    def _probe(self) -> None:
        """Prove once that the second of two conditional writes is refused."""
        name = f"{self._root}!probe/{token_hex(8)}"
        self._create(name, b"1")  # False only if its reply was lost and it was sent again.
        honoured = not self._create(name, b"2")
        self._delete(name)
        if not honoured:
            raise Refused(
                f"The S3 server at {self.location} ignores If-None-Match, so two workers could "
                "both write the same checkpoint. Use a server with conditional writes (AWS S3, "
                "SeaweedFS, MinIO, Ceph)."
            )


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _inverted(key: CheckpointKey) -> str:
    return f"{_TOP - key.timeline:08x}.{_TOP - key.sequence:08x}"


def _key(run_id: str, kind: Kind, lane: str, name: str) -> CheckpointKey:
    timeline, sequence = (_TOP - int(part, 16) for part in name.split("."))
    return CheckpointKey(run_id, sequence, timeline, kind, lane)
