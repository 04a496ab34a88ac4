"""How processes of one host prove to each other that they live, or stop.

Each process that runs stages holds a lock (`flock`) on a file named after its owner id. The kernel frees
it when the process ends, however it ends; so whoever obtains the lock has proof that the owner is gone,
at once and without a heartbeat having to lapse. Pids prove nothing: they repeat in containers.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .settings import TaskSettings


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An owner on this host, and the pid of its parent."""

    owner: str
    parent: int


def directory(settings: TaskSettings, store_identity: str) -> Path:
    """Return this user's folder for one run store, readable by nobody else."""
    path = settings.lock_directory / f"milepost-{os.getuid()}" / store_identity
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


class OwnerLock:
    """Held from its making until the process ends."""

    def __init__(self, folder: Path, owner: str) -> None:
        self.path = folder / f"{owner}.lock"
        draft = folder / f"{owner}.draft"
        self._file = draft.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        json.dump({"owner": owner, "parent": os.getppid()}, self._file)
        self._file.flush()
        # Only a locked file may be seen under the name that others probe.
        draft.rename(self.path)

    def release(self) -> None:
        """Remove the file: nobody needs proof of a process that left in order."""
        self.path.unlink(missing_ok=True)
        self._file.close()


def gone(folder: Path, own: str | None = None) -> Iterator[Neighbour]:
    """Yield the owners whose lock can be had; their files stay until `forget`.

    Args:
        own: The calling process's own owner id, which it need not ask about.
    """
    for path in folder.glob("*.lock"):
        if path.stem == own:
            continue
        with suppress(FileNotFoundError, ValueError), path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            record = json.load(file)
            yield Neighbour(record["owner"], record["parent"])


def owners(folder: Path) -> Iterator[Neighbour]:
    """Yield all owners of this host that have a file, living or not."""
    for path in folder.glob("*.lock"):
        with suppress(FileNotFoundError, ValueError):
            record = json.loads(path.read_text())
            yield Neighbour(record["owner"], record["parent"])


def stop_announced(folder: Path, pid: int) -> bool:
    """Whether the process *pid* was asked to stop."""
    return _flag(folder, pid).exists()


def forget(folder: Path, owner: str) -> None:
    """Remove what a gone owner left, once the run store knows."""
    (folder / f"{owner}.lock").unlink(missing_ok=True)


def _flag(folder: Path, pid: int) -> Path:
    return folder / f"stopping-{pid}"


def announce_stop(folder: Path) -> None:
    """Tell this process's stages, and those of its children, that it was asked to stop."""
    _flag(folder, os.getpid()).touch()


def withdraw_stop(folder: Path) -> None:
    """Remove a flag that an earlier process of the same pid may have left."""
    _flag(folder, os.getpid()).unlink(missing_ok=True)


def told_to_stop(folder: Path) -> bool:
    """Whether this process or its parent was asked to stop."""
    return _flag(folder, os.getpid()).exists() or _flag(folder, os.getppid()).exists()
