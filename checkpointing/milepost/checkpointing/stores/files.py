"""Writing files that a crash leaves whole or not at all, and their errors under our names."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from ..errors import Refused, Unavailable

_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG})


@contextmanager
def translated(root: Path, run_id: str | None = None) -> Iterator[None]:
    """Raise the system's errors under the names of `errors`."""
    try:
        yield
    except OSError as error:
        text = f"The folder {root} cannot be used: {error.strerror} ({error.filename})."
        if error.errno in _REFUSALS:
            raise Refused(text, run_id=run_id) from error
        raise Unavailable(text, run_id=run_id) from error


def make_folder(folder: Path) -> None:
    """Make *folder* and its parents where they are absent, each durable, with mode 0700."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    sync_folder(folder.parent)


def create(path: Path, data: bytes, *, below: Path) -> bool:
    """Write a file if there is none; False if there is. True: it survives a power cut.

    Folders down from *below* are made; that one must stand.
    """
    while True:
        temporary = path.parent / f".{token_hex(8)}"
        try:
            _write(temporary, data)
        except FileNotFoundError:
            if not below.is_dir():
                raise
            # Not there yet, or removed meanwhile with what was its last file.
            make_folder(path.parent)
            continue
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except FileNotFoundError:
            continue
        finally:
            temporary.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            sync_folder(path.parent)
        return True


def replace(path: Path, data: bytes) -> None:
    """Write a file in place of the one that may be there, in one step."""
    temporary = path.parent / f".{token_hex(8)}"
    try:
        _write(temporary, data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def names(folder: Path) -> list[str]:
    """Return the names in *folder*; none if it is not there."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def sync_folder(folder: Path) -> None:
    """Let the names in *folder* survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the lock under which runs are removed and expire; writing a record needs none."""
    handle = os.open(root / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        # Closing alone would leave it with a child that was forked meanwhile.
        fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
