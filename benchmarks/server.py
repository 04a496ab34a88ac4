"""A Redis or Valkey of the benchmarks' own, on the loopback, with an append-only file."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from milepost.worker import embedded

_START_SECONDS = 15.0


class Server:
    """``redis-server`` from PATH, else the server Milepost embeds; gone with its data at the end."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="milepost-bench-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def version(self) -> str:
        """Name and version of the server."""
        with redis.Redis.from_url(self.url) as client:
            info = client.info("server")
        name = info.get("server_name", "redis")
        return f"{name.capitalize()} {info.get(f'{name}_version', info['redis_version'])}"

    def __enter__(self) -> Self:
        binary = shutil.which("redis-server") or embedded._binary()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}/0"
        self._process = subprocess.Popen(
            [
                binary,
                *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
                # A rewrite in the background would hit whoever's turn it is.
                *("--auto-aof-rewrite-percentage", "0"),
                *("--logfile", str(self.folder / "server.log")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + _START_SECONDS
        with redis.Redis.from_url(self.url, socket_timeout=1) as client:
            while True:
                try:
                    client.ping()
                    return self
                except redis.RedisError:
                    if self._process.poll() is not None or time.monotonic() > end:
                        self.__exit__(None, None, None)
                        raise
                time.sleep(0.02)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
