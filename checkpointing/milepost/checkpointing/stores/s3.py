"""Checkpoints in S3 or any server that honours ``If-None-Match: *``.

One object a checkpoint, header and body together, under
``<prefix>/<run>/<kind>/<lane>/<timeline><sequence>``. Both numbers are written inverted, so that the
last record is the first of a listing: finding it takes one LIST of two keys and one GET. An expiry
is an object whose name sorts before them and says the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..envelope import PREFIX, split
from ..errors import AlreadyExists, Corrupt, Misconfigured, MissingExtra, NotFound, Refused, Unavailable
from ..models import MAIN_LANE, CheckpointKey, Kind, Record
from ..page import Page
from ..redis_connection import redacted
from ..settings import CheckpointSettings
from .base import CheckpointStore, Entry

_TOP = (1 << 32) - 1
_EXPIRY = "!expires."
_HEADER_GUESS = PREFIX + 2048
_TRANSIENT = frozenset({"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "429", "500", "503"})
_OPTIONS = frozenset({"endpoint_url", "region_name"})


class S3CheckpointStore(CheckpointStore):
    """Keeps records in the bucket and prefix of *url*; a PUT a checkpoint, create-only.

    Credentials come from the environment, profile or role, as everywhere with boto3; the URL's user
    and password, if given, are the access key's.

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
        settings = settings or CheckpointSettings()
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        if not parts.hostname or not options.keys() <= _OPTIONS:
            raise Misconfigured(
                f"{redacted(url)} is no S3 URL: expected s3://bucket/prefix with at most the options "
                f"{', '.join(sorted(_OPTIONS))}."
            )
        self._location = redacted(url)
        self._bucket = parts.hostname
        self._root = f"{parts.path.strip('/')}/".lstrip("/")
        self._s3 = _client(parts.username, parts.password, options, settings)
        self._threads = ThreadPoolExecutor(8, "milepost-s3")
        self._probe()

    @property
    def location(self) -> str:
        return self._location

    def put(self, record: Record) -> None:
        key, data = record.key, record.header + record.body
        if not self._create(self._name(key), data, key.run_id) and self._read(key) != data:
            raise AlreadyExists(f"{key.path} of run {key.run_id} is taken.", key=key)

    def get(self, key: CheckpointKey) -> Record:
        if self._expired(self._names(self._series(key.run_id, key.kind, key.lane), limit=1)):
            raise NotFound(f"Run {key.run_id} has expired.", key=key)
        return self._record(key)

    def latest(
        self, run_id: str, kind: Kind = Kind.COMMIT, lane: str = MAIN_LANE
    ) -> Record | None:
        series = self._series(run_id, kind, lane)
        names = self._names(series, limit=2)
        if self._expired(names):
            return None
        names = [name for name in names if not name.startswith(_EXPIRY)]
        return self._record(_key(run_id, kind, lane, names[0])) if names else None

    def history(
        self,
        run_id: str,
        kind: Kind = Kind.COMMIT,
        lane: str = MAIN_LANE,
        *,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Entry]:
        series = self._series(run_id, kind, lane)
        after = _inverted(CheckpointKey.from_path(run_id, cursor)) if cursor else ""
        if cursor and self._expired(self._names(series, limit=1)):
            return Page(())
        listed = self._list(series, limit=limit + 2, after=after)
        if self._expired([name for name, _ in listed]):
            return Page(())
        listed = [(name, size) for name, size in listed if not name.startswith(_EXPIRY)]
        keys = [_key(run_id, kind, lane, name) for name, _ in listed[:limit]]
        sizes = [size for _, size in listed[:limit]]
        entries = tuple(self._threads.map(self._entry, keys, sizes))
        return Page(entries, keys[-1].path if len(listed) > limit else None)

    def runs(self, *, cursor: str | None = None, limit: int = 100) -> Page[str]:
        names: list[str] = []
        # "0" follows "/": with it the listing goes on behind all objects of the run.
        after = f"{self._root}{cursor}0" if cursor else ""
        while len(names) <= limit:
            with self._translated():
                reply = self._s3.list_objects_v2(
                    Bucket=self._bucket,
                    Prefix=self._root,
                    Delimiter="/",
                    MaxKeys=limit + 1,
                    StartAfter=after,
                )
            found = [
                item["Prefix"][len(self._root) : -1] for item in reply.get("CommonPrefixes", [])
            ]
            names += [name for name in found if name[0] != "!" and not self._run_expired(name)]
            if not reply.get("IsTruncated") or not found:
                break
            after = f"{self._root}{found[-1]}0"
        page = tuple(names[:limit])
        return Page(page, page[-1] if len(names) > limit else None)

    def delete(self, key: CheckpointKey) -> bool:
        name = self._name(key)
        existed = bool(self._list(name, limit=1))
        with self._translated(key.run_id):
            self._s3.delete_object(Bucket=self._bucket, Key=name)
        return existed

    def delete_run(self, run_id: str) -> int:
        expired, count = self._run_expired(run_id), 0
        while names := [name for name, _ in self._list(f"{self._root}{run_id}/", limit=1000)]:
            with self._translated(run_id):
                self._s3.delete_objects(
                    Bucket=self._bucket,
                    Delete={
                        "Objects": [{"Key": f"{self._root}{run_id}/{name}"} for name in names],
                        "Quiet": True,
                    },
                )
            count += sum(_EXPIRY not in name for name in names)
        return 0 if expired else count

    def expire_run(self, run_id: str, at: datetime | None) -> None:
        for series in self._all_series(run_id):
            for name in self._names(series, limit=1):
                if name.startswith(_EXPIRY):
                    with self._translated(run_id):
                        self._s3.delete_object(Bucket=self._bucket, Key=series + name)
            if at is not None:
                self._create(f"{series}{_EXPIRY}{int(at.timestamp() * 1000):015d}", b"", run_id)

    def close(self) -> None:
        self._threads.shutdown(wait=False)
        self._s3.close()

    def _series(self, run_id: str, kind: Kind, lane: str) -> str:
        return f"{self._root}{run_id}/{kind}/{lane}/"

    def _all_series(self, run_id: str) -> list[str]:
        series = []
        for kind in Kind:
            with self._translated(run_id):
                reply = self._s3.list_objects_v2(
                    Bucket=self._bucket, Prefix=f"{self._root}{run_id}/{kind}/", Delimiter="/"
                )
            series += [item["Prefix"] for item in reply.get("CommonPrefixes", [])]
        return series

    def _run_expired(self, run_id: str) -> bool:
        return self._expired([n.rsplit("/", 1)[-1] for n in self._names(f"{self._root}{run_id}/", 1)])

    def _expired(self, names: list[str]) -> bool:
        if not names or not names[0].startswith(_EXPIRY):
            return False
        return int(names[0][len(_EXPIRY) :]) <= datetime.now(UTC).timestamp() * 1000

    def _name(self, key: CheckpointKey) -> str:
        return self._series(key.run_id, key.kind, key.lane) + _inverted(key)

    def _names(self, prefix: str, limit: int) -> list[str]:
        return [name for name, _ in self._list(prefix, limit=limit)]

    def _list(self, prefix: str, *, limit: int, after: str = "") -> list[tuple[str, int]]:
        with self._translated():
            reply = self._s3.list_objects_v2(
                Bucket=self._bucket,
                Prefix=prefix,
                MaxKeys=limit,
                StartAfter=prefix + after if after else "",
            )
        return [(item["Key"][len(prefix) :], item["Size"]) for item in reply.get("Contents", [])]

    def _record(self, key: CheckpointKey) -> Record:
        data = self._read(key)
        try:
            return Record(key, *split(data))
        except Corrupt as error:
            raise Corrupt(f"Checkpoint {key.path} of run {key.run_id}: {error}", key=key) from error

    def _entry(self, key: CheckpointKey, size: int) -> Entry:
        data = self._read(key, _HEADER_GUESS)
        header, _ = split(data)
        if len(header) > len(data) or (len(data) < size and header == data):
            header, _ = split(self._read(key))
        return Entry(key, header, size - len(header))

    def _read(self, key: CheckpointKey, first_bytes: int | None = None) -> bytes:
        part = {"Range": f"bytes=0-{first_bytes - 1}"} if first_bytes else {}
        try:
            with self._translated(key.run_id):
                reply = self._s3.get_object(Bucket=self._bucket, Key=self._name(key), **part)
                body: bytes = reply["Body"].read()
        except NotFound:
            message = f"Run {key.run_id} has no checkpoint {key.path}."
            raise NotFound(message, key=key) from None
        return body

    def _create(self, name: str, data: bytes, run_id: str) -> bool:
        """Write an object if there is none; False if there is."""
        put = partial(
            self._s3.put_object, Bucket=self._bucket, Key=name, Body=data, IfNoneMatch="*"
        )
        for attempt in range(6):
            try:
                with self._translated(run_id):
                    put()
            except AlreadyExists:
                return False
            except _Conflicted as error:
                if attempt == 5:
                    raise Unavailable(str(error), run_id=run_id) from error
            else:
                return True
        raise AssertionError("unreachable")

    def _probe(self) -> None:
        """Prove once that the second of two conditional writes is refused."""
        name = f"{self._root}!probe/{token_hex(8)}"
        try:
            honoured = self._create(name, b"1", "") and not self._create(name, b"2", "")
        finally:
            with self._translated():
                self._s3.delete_object(Bucket=self._bucket, Key=name)
        if not honoured:
            raise Refused(
                f"The S3 server at {self.location} ignores If-None-Match, so two workers could both "
                "write the same checkpoint. Use a server with conditional writes (AWS S3, "
                "SeaweedFS, MinIO, Ceph)."
            )

    @contextmanager
    def _translated(self, run_id: str | None = None) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            text = f"S3 at {self.location} answered {status} {code}: {error}"
            if status == 412 or code == "PreconditionFailed":
                raise AlreadyExists(text, run_id=run_id) from error
            if status == 409:
                raise _Conflicted(text, run_id=run_id) from error
            if code in {"NoSuchKey", "404"}:
                raise NotFound(text, run_id=run_id) from error
            if code in _TRANSIENT or status >= 500 or status == 429:
                raise Unavailable(text, run_id=run_id) from error
            raise Refused(text, run_id=run_id) from error
        except (BotoCoreError, OSError) as error:
            raise Unavailable(
                f"S3 at {self.location} does not answer ({error}). Is it running, and reachable "
                "from here?",
                run_id=run_id,
            ) from error


class _Conflicted(Unavailable):
    """S3's 409 for a conditional write: another is under way; the same request decides later."""


def _inverted(key: CheckpointKey) -> str:
    return f"{_TOP - key.timeline:08x}.{_TOP - key.sequence:08x}"


def _key(run_id: str, kind: Kind, lane: str, name: str) -> CheckpointKey:
    timeline, sequence = (_TOP - int(part, 16) for part in name.split("."))
    return CheckpointKey(run_id, sequence, timeline, kind, lane)


def _client(
    user: str | None, password: str | None, options: dict[str, str], settings: CheckpointSettings
) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise MissingExtra("The S3 checkpoint store", "s3") from None
    keys = {"aws_access_key_id": user, "aws_secret_access_key": password} if user else {}
    return boto3.client(
        "s3",
        **keys,
        **options,
        config=Config(
            connect_timeout=settings.store_timeout_seconds,
            read_timeout=settings.store_timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": settings.store_retries + 1},
            # Path style works on every server; checksums only where S3 requires them.
            s3={"addressing_style": "path"} if "endpoint_url" in options else {},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
