"""How processes of one host prove to each other that they live, or stop.

Each process that runs stages holds a lock (`flock`) on a file named after its owner id. The kernel frees
it when the process ends, however it ends; so whoever obtains the lock has proof that the owner is gone,
at once and without a heartbeat having to lapse. Pids prove nothing: they repeat in containers.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .private_folder import private_folder
from .settings import TaskSettings


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An owner on this host, its process, and the worker's main process, which may be the same.

    `born` is when it came, by the wall clock: pids repeat, the sooner the smaller the container.
    """

    owner: str
    pid: int
    parent: int
    born: float


def directory(settings: TaskSettings, store_identity: str) -> Path:
    """Return this user's folder for one run store, open to nobody else.

    Raises:
        Misconfigured: Somebody else made it, or could write to it.
    """
    path = home(settings) / store_identity
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def home(settings: TaskSettings) -> Path:
    """Return this user's folder for all that processes of a host share, open to nobody else.

    Raises:
        Misconfigured: Somebody else made it, or could write to it.
    """
    remedy = "Remove it, or set MILEPOST_LOCK_DIRECTORY to a folder of your own."
    return private_folder(settings.lock_directory / f"milepost-{os.getuid()}", remedy)


class OwnerLock:
    """Held from its making until the process ends."""

    def __init__(self, folder: Path, owner: str, parent: int) -> None:
        self.path = folder / f"{owner}.lock"
        draft = folder / f"{owner}.draft"
        self._file = draft.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        json.dump(asdict(Neighbour(owner, os.getpid(), parent, time.time())), self._file)
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
        with suppress(FileNotFoundError, ValueError, KeyError), path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield _read(file.read())


def owners(folder: Path) -> Iterator[Neighbour]:
    """Yield all owners of this host that have a file, living or not."""
    for path in folder.glob("*.lock"):
        with suppress(FileNotFoundError, ValueError, KeyError):
            yield _read(path.read_text())


def forget(folder: Path, gone: Neighbour) -> None:
    """Remove what a gone owner left, once the run store knows."""
    (folder / f"{gone.owner}.lock").unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the flags of processes that were asked to stop and ended without a farewell."""
    for flag in folder.glob("stopping-*"):
        pid = int(flag.name.partition("-")[2])
        if not lives(pid) and not any(pid in (o.pid, o.parent) for o in owners(folder)):
            flag.unlink(missing_ok=True)


def announce_stop(folder: Path, pid: int | None = None) -> None:
    """Tell the stages of a process (None: this one), and those of its children, that it is to stop."""
    _flag(folder, os.getpid() if pid is None else pid).touch()


def withdraw_stop(folder: Path) -> None:
    """Remove this process's flag, or one that an earlier process of the same pid has left."""
    _flag(folder, os.getpid()).unlink(missing_ok=True)


def told_to_stop(folder: Path, pid: int, parent: int) -> bool:
    """Whether the process *pid* or its *parent* was asked to stop."""
    return _flag(folder, pid).exists() or _flag(folder, parent).exists()


def _read(text: str) -> Neighbour:
    record = json.loads(text)
    return Neighbour(record["owner"], record["pid"], record["parent"], record["born"])


def _flag(folder: Path, pid: int) -> Path:
    return folder / f"stopping-{pid}"


def lives(pid: int) -> bool:
    """Whether there is a process of that number, be it the one that was meant or another."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
