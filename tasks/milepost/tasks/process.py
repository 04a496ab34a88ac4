"""What a process has of its machine: time, a name, threads, and word that it is to stop."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from billiard import current_process

from . import liveness


class Process:
    """This process. A simulation, which has many in one, gives others."""

    def __init__(self) -> None:
        # Only pool processes have a parent that looks after them; others have a shell, or a supervisor.
        pooled = current_process().name != "MainProcess"
        self._parent = os.getppid() if pooled else os.getpid()

    @property
    def worker(self) -> str:
        """Its name as ``host:pid``."""
        return f"{socket.gethostname()}:{os.getpid()}"

    def monotonic(self) -> float:
        """Return seconds of a clock that nobody sets."""
        return time.monotonic()

    def now(self) -> float:
        """Return the time of day in seconds, as this machine has it."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def in_background(self, work: Callable[[], None], name: str) -> Callable[[float], None]:
        """Do *work* in a thread; return what waits for its end, for so many seconds at most."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return lambda seconds: thread.join(timeout=seconds)

    def enrol(self, folder: Path, owner: str) -> liveness.OwnerLock:
        """Take the lock whose end proves this process's end."""
        return liveness.OwnerLock(folder, owner, self._parent)

    def told_to_stop(self, folder: Path) -> bool:
        """Whether it, or its parent, was asked to stop."""
        return liveness.told_to_stop(folder, os.getpid(), self._parent)
