"""A real Redis of a test's own, to be killed and started again on its data."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .ports import free_port
from .requirement import need_program
from .server import Server


class RedisServer(Server):
    """`redis-server` or `valkey-server` on a free loopback port with a folder of its own."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="milepost-redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._kept = Path(f"{self.folder}-kept")

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> Self:
        """Start on the same port and data as before, and return when it answers."""
        assert self._process is None, "the server is running"
        options = {
            "--port": str(self.port),
            "--bind": "127.0.0.1",
            "--dir": str(self.folder),
            "--save": "",
            "--appendonly": "yes",
            "--appendfsync": "everysec",
            "--daemonize": "no",
        }
        command = [need_program("redis-server", "valkey-server")]
        command += [word for pair in options.items() for word in pair]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._options],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self._wait_until_ready()
        return self

    def kill(self) -> None:
        """End the server as a crash does (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the server in good order (SIGTERM)."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def snapshot(self) -> None:
        """Keep what is on the disk now, for `rewind`."""
        shutil.rmtree(self._kept, ignore_errors=True)
        shutil.copytree(self.folder, self._kept)

    def rewind(self) -> None:
        """Go back to the last snapshot, as a power cut does to what was not flushed."""
        self.kill()
        shutil.rmtree(self.folder)
        shutil.copytree(self._kept, self.folder)
        self.start()

    def close(self) -> None:
        """End the server and remove its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self._kept, ignore_errors=True)

    def _wait_until_ready(self, seconds: float = 15.0) -> None:
        assert self._process is not None
        deadline = time.monotonic() + seconds
        once = Retry(NoBackoff(), 0)
        with redis.Redis(port=self.port, socket_timeout=1, retry=once) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.AuthenticationError:
                    return
                except redis.RedisError:
                    ended = self._process.poll() is not None
                    if ended or time.monotonic() > deadline:
                        self.kill()
                        log = (self.folder / "server.log").read_text(errors="replace")
                        raise RuntimeError(f"redis-server did not start:\n{log}") from None
                time.sleep(0.02)
