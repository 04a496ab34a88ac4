"""pytest-celery's nodes on processes instead of Docker containers.

A node asks of its container what `ProcessContainer` has, and nothing else; see
`pytest_celery.api.base.CeleryTestNode`.
"""

from __future__ import annotations

import signal as signals
from typing import Any

import redis

from .processes import Worker
from .redis_server import RedisServer


class ProcessContainer:
    """What pytest-celery's nodes take for a container."""

    name: str
    id: str

    @property
    def celeryconfig(self) -> dict[str, Any]:
        """What other nodes have to know of this one."""
        return {}

    @property
    def status(self) -> str:
        """``running`` or ``exited``, in Docker's words."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Wait until it serves."""
        raise NotImplementedError

    def logs(self) -> str:
        """All it has logged."""
        raise NotImplementedError

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Send a signal."""
        raise NotImplementedError

    def restart(self, timeout: int = 10) -> None:
        """End it if it runs, and start it again."""
        raise NotImplementedError

    def teardown(self) -> None:
        """End it for good."""
        raise NotImplementedError

    def reload(self) -> None:
        """Docker's clients keep a copy of the state; processes are asked each time."""

    def exec_run(self, command: str) -> tuple[int, bytes]:
        """Refuse: there is no container to run a command in."""
        return 127, f"no container to run {command!r} in".encode()


class WorkerContainer(ProcessContainer):
    """A worker. SIGKILL hits its whole group, as it would a container; other signals its main process."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.name = worker.name
        self.id = worker.name.partition("@")[0]

    @property
    def status(self) -> str:
        return "running" if self.worker.exit_code is None else "exited"

    def ready(self) -> bool:
        self.worker.wait_ready()
        return True

    def logs(self) -> str:
        return self.worker.text()

    def kill(self, signal: str | int = "SIGKILL") -> None:
        number = signals.Signals[signal] if isinstance(signal, str) else signal
        if number == signals.SIGKILL:
            self.worker.kill_group()
        else:
            self.worker.signal_pid(self.worker.pid, number)

    def restart(self, timeout: int = 10) -> None:
        if self.status == "running":
            self.worker.terminate()
            self.worker.wait_exit(timeout)
        self.worker.start().wait_ready()

    def teardown(self) -> None:
        self.worker.kill_group()


class RedisContainer(ProcessContainer):
    """The broker."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.name = self.id = f"redis-{server.port}"

    @property
    def celeryconfig(self) -> dict[str, Any]:
        return {"url": self.server.url, "host_url": self.server.url}

    @property
    def status(self) -> str:
        return "running" if self._runs() else "exited"

    def ready(self) -> bool:
        return self._runs()

    def logs(self) -> str:
        return (self.server.folder / "server.log").read_text(errors="replace")

    def kill(self, signal: str | int = "SIGKILL") -> None:
        self.server.kill()

    def restart(self, timeout: int = 10) -> None:
        self.server.stop()
        self.server.start()

    def teardown(self) -> None:
        self.server.stop()

    def _runs(self) -> bool:
        with redis.Redis.from_url(self.server.url, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False
