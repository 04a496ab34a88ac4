"""Worker processes under measurement: started, paused and killed as one process group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from .probe import Probe

_APP = "benchmarks.apps.worker"
_ROOT = Path(__file__).resolve().parent.parent
_READY_SECONDS = 60.0


class Workers:
    """One worker command with all of its processes.

    Args:
        url: The server's database 0.
        app: The module of `benchmarks.apps` it works for.
        command: From `milepost_command` or `celery_command`.
        folder: For its log and its locks.
    """

    def __init__(self, url: str, app: str, command: list[str], folder: Path) -> None:
        self._probe = Probe(url)
        self.log = Path(tempfile.mkstemp(dir=folder, prefix=f"{app}-", suffix=".log")[1])
        environment = {
            **os.environ,
            "BENCH_APP": app,
            "BENCH_URL": url,
            "MILEPOST_URL": url,
            "MILEPOST_LOCK_DIRECTORY": str(folder),
        }
        self.started_at = time.time()
        self.ready_at = 0.0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The main process."""
        return self._process.pid

    def wait_ready(self) -> Self:
        """Return when the worker takes messages.

        Raises:
            TimeoutError: It did not come up; the message has the end of its log.
        """
        try:
            self.ready_at = self._probe.hear("ready", _READY_SECONDS)["at"]
        except TimeoutError:
            tail = self.log.read_text(errors="replace")[-2_000:]
            raise TimeoutError(f"the worker did not come up:\n{tail}") from None
        return self

    def pause(self) -> None:
        """Stop all processes where they are."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let paused processes go on."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def end(self) -> None:
        """End all processes with SIGKILL, at once; a second call does nothing."""
        # Until the leader is waited for, its number cannot belong to anybody else.
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._probe.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


def milepost_command(processes: int = 2) -> list[str]:
    """Return ``milepost worker`` as it is by default."""
    milepost = str(Path(sys.executable).with_name("milepost"))
    return [milepost, "worker", "-A", _APP, "-c", str(processes)]


def celery_command(processes: int = 2, *, hiredis: bool = False) -> list[str]:
    """Return a prefork worker with Celery's defaults, with or without redis-py's parser in C."""
    name = f"bench-{time.monotonic_ns()}@%h"
    module = "celery" if hiredis else "benchmarks.apps.plain_celery"
    return [
        *(sys.executable, "-m", module, "-A", _APP, "worker"),
        *("-P", "prefork", "-c", str(processes), "-n", name, "-l", "warning"),
    ]
