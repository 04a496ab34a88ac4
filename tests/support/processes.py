"""Celery workers as real processes, to be killed in every way a worker can be."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psutil

from .waiting import eventually

Pool = Literal["prefork", "threads", "solo"]
TESTS = Path(__file__).resolve().parent.parent


class Worker:
    """``celery -A app worker`` as the leader of a session and process group of its own.

    Args:
        app: The module, importable from ``tests``.
        env: Added to this process's environment.
    """

    def __init__(
        self,
        app: str,
        folder: Path,
        env: Mapping[str, str],
        *,
        pool: Pool = "prefork",
        concurrency: int = 1,
        name: str = "worker",
    ) -> None:
        self.name = f"{name}@test"
        self.pool = pool
        self.log = folder / f"{name}.log"
        self._folder = folder
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._env = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "", **env}
        self._command = [
            *(sys.executable, "-m", "celery", "-A", app, "worker"),
            *("-P", pool, "-c", str(concurrency), "-n", self.name),
            *("--without-gossip", "--without-mingle", "-l", "INFO"),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._read_from = 0

    def start(self) -> Self:
        """Start; `wait_ready` says when it takes messages."""
        assert self._process is None or self.exit_code is not None, "the worker is running"
        self._read_from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                cwd=self._folder,
                start_new_session=True,
            )
        return self

    def wait_ready(self, deadline_s: float = 30.0) -> Self:
        """Wait until it says that it is ready."""
        self.wait_for_log(f"{self.name} ready.", deadline_s)
        return self

    def wait_for_log(self, text: str, deadline_s: float = 15.0) -> None:
        """Wait until *text* is in what it has logged since its start."""

        def seen() -> bool:
            if text in self.text():
                return True
            assert self.exit_code is None, f"{self.name} has ended:\n{self.text()}"
            return False

        eventually(seen, deadline_s, lambda: f"{text!r} in the log of {self.name}:\n{self.text()}")

    def text(self) -> str:
        """What it has logged since its start."""
        with self.log.open("rb") as log:
            log.seek(self._read_from)
            return log.read().decode(errors="replace")

    @property
    def pid(self) -> int:
        """The main process."""
        assert self._process is not None, "the worker was never started"
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        assert self._process is not None, "the worker was never started"
        return self._process.poll()

    @property
    def children(self) -> list[int]:
        """The pids of its living children."""
        try:
            return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill_group(self) -> None:
        """SIGKILL the main process and its children at once, as the end of a host does."""
        if self._process is None:
            return
        # The group may outlive its leader: children of a main process that was killed alone.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait_exit()

    def terminate(self) -> None:
        """SIGTERM the main process, as a supervisor does."""
        self.signal_pid(self.pid, signal.SIGTERM)

    def quit(self) -> None:
        """SIGQUIT the main process."""
        self.signal_pid(self.pid, signal.SIGQUIT)

    def signal_pid(self, pid: int, signum: int = signal.SIGKILL) -> None:
        """Send a signal to this worker's main process or to one of its children."""
        assert pid == self.pid or pid in self.children, f"{pid} is no process of {self.name}"
        os.kill(pid, signum)

    def wait_exit(self, deadline_s: float = 20.0) -> int:
        """Wait until the main process has ended, and return its exit code."""
        eventually(
            lambda: self.exit_code is not None,
            deadline_s,
            lambda: f"the end of {self.name}:\n{self.text()}",
        )
        assert self.exit_code is not None
        return self.exit_code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill_group()
