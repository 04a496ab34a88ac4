"""A real RabbitMQ of a test session's own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from .ports import free_port
from .requirement import missing
from .server import Server

_START_SECONDS = 60


class RabbitServer(Server):
    """RabbitMQ on free loopback ports, its name server included, with a folder of its own."""

    def __init__(self) -> None:
        # Debian's wrapper on PATH changes user; the script it wraps runs as whoever calls it.
        scripts = sorted(Path("/usr/lib/rabbitmq/lib").glob("*/sbin/rabbitmq-server"))
        if not scripts:
            missing("rabbitmq-server is not installed")
        self.port = free_port()
        self._script = scripts[-1]
        self._folder = Path(tempfile.mkdtemp(prefix="milepost-rabbit-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of the default virtual host."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> Self:
        """Start, and return when it greets."""
        folder = str(self._folder)
        environment = {
            **os.environ,
            "HOME": folder,
            "RABBITMQ_NODENAME": f"milepost{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": folder,
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        with (self._folder / "console").open("wb") as console:
            self._process = subprocess.Popen(
                [self._script],
                env=environment,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        end = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "console").read_text()
            assert time.monotonic() < end, (self._folder / "console").read_text()
            time.sleep(0.1)
        return self

    def close(self) -> None:
        """End it at once, with what it started, and remove its data."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        _end_daemons(self._folder)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(connection.recv(1))
        except OSError:
            return False


def _end_daemons(folder: Path) -> None:
    """End the Erlang name server, which leaves the group; it is known by the home it was given."""
    marker = f"HOME={folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:
            continue
