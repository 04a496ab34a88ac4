"""Checkpoints in files: for one host, or several that share a POSIX file system with locks.

``<root>/<run>/<kind>~<lane>/<timeline>/<sequence / 256>/<sequence>``, numbers in hexadecimal. So the
last of a million is found by reading the names in a few small folders. A file is header and body together.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from secrets import token_hex
from urllib.parse import unquote

from ..envelope import PREFIX, header_bytes, split
from ..errors import AlreadyExists, Misconfigured, NotFound, Refused
from ..models import MAIN_LANE, CheckpointKey, Kind, Record
from ..page import Page
from ..redis_connection import read_url
from ..settings import CheckpointSettings
from .base import CheckpointStore, Entry
from .files import create, locked, make_folder, names, replace, translated

_EXPIRES = "expires"
_HEADER_GUESS = PREFIX + 2048
_BUCKET = 256


class FileCheckpointStore(CheckpointStore):
    """Keeps records in the folder of *url*, files with mode 0600, folders with 0700.

    A record is written under a name of its own, flushed to the disk, linked to its place, which fails if
    that is taken, and its folder is flushed: after `put` it survives a power cut. What a process that died
    left half-written has a name that nobody reads, and goes with its run.

    Args:
        url: ``file:///path``; ``file://~/path`` is below the home directory.

    Raises:
        Misconfigured: The URL names no folder.
        Refused: The folder cannot be made or written to.
    """

    def __init__(self, url: str, settings: CheckpointSettings | None = None) -> None:
        parts = read_url(url)
        if parts.scheme != "file" or not (path := unquote(parts.netloc + parts.path)):
            raise Misconfigured(f"{url} is no file URL: expected file:///path/of/folder.")
        self._root = Path(path).expanduser().absolute()
        with translated(self._root):
            make_folder(self._root)

    @property
    def location(self) -> str:
        return f"file://{self._root}"

    def put(self, record: Record) -> None:
        key, data = record.key, record.header + record.body
        with translated(self._root, key.run_id):
            if self._is_gone(key.run_id):
                self._clear(key.run_id)
            path = self._path(key)
            while not create(path, data, below=self._root):
                # If it cannot be read after all, it was deleted since, and the key is free again.
                with suppress(FileNotFoundError):
                    if path.read_bytes() == data:
                        return
                    raise AlreadyExists(f"{key.path} of run {key.run_id} is taken.", key=key)

    def get(self, key: CheckpointKey) -> Record:
        with translated(self._root, key.run_id):
            if not self._is_gone(key.run_id):
                with suppress(FileNotFoundError):
                    return self._record(key)
        raise NotFound(f"Run {key.run_id} has no checkpoint {key.path}.", key=key)

    def latest(self, run_id: str, kind: Kind = Kind.COMMIT, lane: str = MAIN_LANE) -> Record | None:
        with translated(self._root, run_id):
            while not self._is_gone(run_id):
                key = next(self._keys(run_id, kind, lane), None)
                if key is None:
                    return None
                with suppress(FileNotFoundError):  # Deleted since; another is the last now.
                    return self._record(key)
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
        below = CheckpointKey.from_path(run_id, cursor) if cursor else None
        with translated(self._root, run_id):
            if self._is_gone(run_id):
                return Page(())
            keys = [*islice(self._keys(run_id, kind, lane, below), limit + 1)]
            entries = (self._entry(key) for key in keys[:limit])
            return Page(
                tuple(entry for entry in entries if entry),
                keys[limit - 1].path if len(keys) > limit else None,
            )

    def runs(self, *, cursor: str | None = None, limit: int = 100) -> Page[str]:
        found: list[str] = []
        with translated(self._root):
            after = cursor or ""
            while len(found) <= limit:
                rest = (name for name in names(self._root) if name > after and name[0] != ".")
                batch = nsmallest(limit + 1, rest)
                found += [name for name in batch if self._is_live(name)]
                if len(batch) <= limit:
                    break
                after = batch[-1]
        page = tuple(found[:limit])
        return Page(page, page[-1] if len(found) > limit else None)

    def delete(self, key: CheckpointKey) -> bool:
        path = self._path(key)
        with translated(self._root, key.run_id), locked(self._root):
            if self._is_gone(key.run_id):
                return False
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            self._prune(path.parent)
            return True

    def delete_run(self, run_id: str) -> int:
        with translated(self._root, run_id), locked(self._root):
            gone = self._is_gone(run_id)
            count = self._remove(run_id)
        return 0 if gone else count

    def expires_at(self, run_id: str) -> datetime | None:
        with translated(self._root, run_id):
            at = self._expiry(run_id)
        if at is None or at <= datetime.now(UTC).timestamp() * 1000:
            return None
        return datetime.fromtimestamp(at / 1000, UTC)

    def expire_run(self, run_id: str, at: datetime | None) -> None:
        with translated(self._root, run_id), locked(self._root):
            if self._is_gone(run_id) or not self._has_records(run_id):
                return
            path = self._root / run_id / _EXPIRES
            if at is None:
                path.unlink(missing_ok=True)
            else:
                replace(path, b"%d" % int(at.timestamp() * 1000))

    def _path(self, key: CheckpointKey) -> Path:
        bucket = f"{key.sequence // _BUCKET:06x}"
        name = f"{key.timeline:08x}/{bucket}/{key.sequence:08x}"
        return self._series(key.run_id, key.kind, key.lane) / name

    def _series(self, run_id: str, kind: Kind, lane: str) -> Path:
        return self._root / run_id / f"{kind}~{lane}"

    def _keys(
        self, run_id: str, kind: Kind, lane: str, below: CheckpointKey | None = None
    ) -> Iterator[CheckpointKey]:
        """Return the keys of a series, last first."""
        series = self._series(run_id, kind, lane)
        for timeline in _numbers(series):
            if below and timeline > below.timeline:
                continue
            top = below.sequence if below and timeline == below.timeline else None
            folder = series / f"{timeline:08x}"
            for bucket in _numbers(folder):
                if top is not None and bucket > top // _BUCKET:
                    continue
                for sequence in _numbers(folder / f"{bucket:06x}"):
                    if top is None or sequence < top:
                        yield CheckpointKey(run_id, sequence, timeline, kind, lane)

    def _record(self, key: CheckpointKey) -> Record:
        return Record(key, *split(self._path(key).read_bytes()))

    def _entry(self, key: CheckpointKey) -> Entry | None:
        try:
            with self._path(key).open("rb") as file:
                data = file.read(_HEADER_GUESS)
                size = os.fstat(file.fileno()).st_size
                if header_bytes(data) > len(data):
                    data += file.read(header_bytes(data) - len(data))
        except FileNotFoundError:
            return None
        header = data[: header_bytes(data)]
        return Entry(key, header, size - len(header))

    def _expiry(self, run_id: str) -> int | None:
        folder = self._root / run_id
        if folder.is_symlink():
            raise Refused(f"{folder} is a link; expected a folder. Remove it.", run_id=run_id)
        try:
            return int((folder / _EXPIRES).read_bytes())
        except FileNotFoundError:
            return None

    def _is_gone(self, run_id: str) -> bool:
        at = self._expiry(run_id)
        return at is not None and at <= datetime.now(UTC).timestamp() * 1000

    def _has_records(self, run_id: str) -> bool:
        return any(True for name in names(self._root / run_id) if "~" in name)

    def _is_live(self, run_id: str) -> bool:
        if (self._root / run_id).is_symlink():
            return False
        if not self._is_gone(run_id):
            return self._has_records(run_id)
        with suppress(PermissionError):  # Who may only read may list all the same.
            self._clear(run_id)
        return False

    def _clear(self, run_id: str) -> None:
        """Remove an expired run, and nothing that others write there once it is gone."""
        with locked(self._root):
            if self._is_gone(run_id):
                self._remove(run_id)

    def _remove(self, run_id: str) -> int:
        """Take a run out of sight at once, then remove it; return how many records it had."""
        aside = self._root / f".removed-{token_hex(8)}"
        try:
            (self._root / run_id).rename(aside)
        except FileNotFoundError:
            return 0
        count = sum(
            sum(not name.startswith(".") for name in files)
            for folder, _, files in os.walk(aside)
            if folder != str(aside)
        )
        shutil.rmtree(aside, ignore_errors=True)
        return count

    def _prune(self, folder: Path) -> None:
        """Remove folders without records, up to the run's; what others write there now stays.

        A writer whose file is taken away here before it has its name writes it again.
        """
        run = self._root / folder.relative_to(self._root).parts[0]
        with suppress(OSError):
            while folder != run:
                remains = names(folder)
                if all(name.startswith(".") for name in remains):
                    for name in remains:
                        (folder / name).unlink(missing_ok=True)
                folder.rmdir()
                folder = folder.parent
            if not self._has_records(run.name):
                (run / _EXPIRES).unlink(missing_ok=True)
                run.rmdir()


def _numbers(folder: Path) -> list[int]:
    """Return the numbers that are names in *folder*, highest first."""
    return sorted((int(name, 16) for name in names(folder) if name[0] != "."), reverse=True)
