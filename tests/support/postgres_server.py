"""A real PostgreSQL of a test session's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil

from .ports import free_port
from .requirement import missing
from .server import Server

_START_SECONDS = 60
_USER = "postgres"


class PostgresServer(Server):
    """PostgreSQL on a free loopback port, with a folder of its own, to be killed and started again."""

    def __init__(self, *options: str) -> None:
        self._options = options
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not programs:
            missing("postgresql is not installed")
        self.port = free_port()
        self._programs = programs[-1].parent
        self._folder = Path(tempfile.mkdtemp(prefix="milepost-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        # It refuses to run as root; Debian's package has made a user for it.
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._as = {"user": _USER, "group": _USER, "extra_groups": []}
            shutil.chown(self._folder, _USER, _USER)

    @property
    def url(self) -> str:
        """The URL of the database that every server has."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/postgres"

    @property
    def log(self) -> str:
        """What the server has logged."""
        return (self._folder / "log").read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        assert self._process is not None, "the server is not running"
        own = [self._process.pid]
        for child in psutil.Process(self._process.pid).children(recursive=True):
            own.append(child.pid)
        for pid in own:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def start(self) -> Self:
        """Start on the same port and data as before, and return when it answers."""
        data = self._folder / "data"
        if not data.exists():
            subprocess.run(
                [
                    *(str(self._programs / "initdb"), "-D", str(data), "-U", _USER),
                    *("--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
                ],
                check=True,
                capture_output=True,
                cwd=self._folder,
                **self._as,
            )
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._programs / "postgres", "-D", data, "-p", str(self.port)),
                    *("-h", "127.0.0.1", "-k", self._folder, "-c", "max_connections=200"),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
                **self._as,
            )
        end = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        """End all of it as a crash does (SIGKILL)."""
        if self._process is not None:
            # Its backends lead groups of their own.
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it and remove its data."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        ready = self._programs / "pg_isready"
        command = [str(ready), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0
