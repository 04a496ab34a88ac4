"""``milepost flower`` on a port of its own."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from .ports import free_port
from .processes import IMPORTS
from .server import Server
from .waiting import eventually

USER, PASSWORD = "operator", "keep-it-to-yourself"


class FlowerServer(Server):
    """Flower as Milepost starts it.

    Args:
        app: The module, importable from ``tests``; None: whatever ``MILEPOST_URL`` names.
        options: More options of Flower's.
        user: Whether it knows one; without, its API is closed.
    """

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        *options: str,
        app: str | None = None,
        user: bool = True,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"flower-{self.port}.log"
        self._folder = folder
        self._env = {
            **os.environ,
            "PYTHONPATH": IMPORTS,
            **({"FLOWER_BASIC_AUTH": f"{USER}:{PASSWORD}"} if user else {}),
            **env,
        }
        named = [] if app is None else ["-A", app]
        self._command = [
            *(sys.executable, "-m", "milepost.control.cli", "flower", *named),
            *(f"--port={self.port}", *options),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start, and return when it answers."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        eventually(lambda: self.status("/healthcheck") == 200, 30, self.log.read_text)
        return self

    def end(self, signum: int = signal.SIGTERM) -> int:
        """Stop it, and return its exit code."""
        assert self._process is not None, "it was never started"
        self._process.send_signal(signum)
        return self._process.wait(15)

    def close(self) -> None:
        """End it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return what the API answers to a GET, or to a POST where there is a body.

        Raises:
            urllib.error.HTTPError: It answered with an error.
        """
        data = None if body is None else json.dumps(body).encode()
        return json.loads(self._ask(f"/api/{path}", data))

    def page(self, path: str) -> str:
        """Return the HTML of a page."""
        return self._ask(path, None)

    def send(self, task: str, body: Mapping[str, Any]) -> str:
        """Send a task by name, and return its id."""
        return str(self.call(f"task/send-task/{task}", body)["task-id"])

    def search(self, text: str) -> list[dict[str, Any]]:
        """Return the tasks that a search finds, oldest first."""
        found: dict[str, dict[str, Any]] = self.call(f"tasks?search={quote(text)}")
        return sorted(found.values(), key=lambda task: float(task["received"] or 0))

    def states(self, text: str) -> dict[str, str]:
        """Return the last state of each task name that a search finds."""
        return {task["name"]: task["state"] for task in self.search(text)}

    def _ask(self, path: str, data: bytes | None) -> str:
        key = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"{self.url}{path}", data, {"Authorization": f"Basic {key}"}
        )
        with urllib.request.urlopen(request, timeout=20) as reply:
            return str(reply.read().decode())

    def status(self, path: str) -> int:
        """Return the status of a page that nobody signed in for; 0: it does not answer."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=20) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            assert self._process is not None
            assert self._process.poll() is None, self.log.read_text()
            return 0
