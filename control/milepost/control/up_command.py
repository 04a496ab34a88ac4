"""``milepost up``: everything on one machine, by one command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import FrameType

import click

from milepost.checkpointing import Misconfigured
from milepost.tasks import Milepost
from milepost.worker import WorkerSettings
from milepost.worker.fleet import Fleet

from .loading import load_app
from .options import app_option

_SHORT_SECONDS = 5.0
_WRONG_USAGE = 2
"""The exit code of a command that says itself why starting it again is of no use."""
_LEAVE_SECONDS = 10.0
"""How much longer than their grace period processes may take to leave."""


@click.command()
@app_option
@click.option("-n", "--workers", default=1, show_default=True, type=click.IntRange(1, 100))
@click.option("-c", "--concurrency", type=click.IntRange(1), help="Processes of each worker.")
@click.option("--api-port", default=8400, show_default=True, type=click.IntRange(0, 65535))
@click.option("--flower-port", default=5555, show_default=True, type=click.IntRange(0, 65535))
@click.option("--no-flower", is_flag=True, help="Without Flower.")
def up(
    app_name: str | None,
    workers: int,
    concurrency: int | None,
    api_port: int,
    flower_port: int,
    no_flower: bool,
) -> None:
    """Run workers, the HTTP API with its dashboard, and Flower, until Ctrl-C.

    For one machine: the workers take from all queues of the application, and a process that ends is started
    again. On Ctrl-C or SIGTERM workers finish or hand back what they run, and all end. Exits with 1 if a
    process ends three times in a row as soon as it is started, or once for want of an extra or a setting.
    """
    if app_name is None:
        raise Misconfigured("Workers need an application: -A MODULE or MILEPOST_APP.")
    app = load_app(app_name)
    app.ensure_server()
    options = ["-Q", ",".join(_queues(app)), *(["-c", str(concurrency)] if concurrency else [])]
    services = [
        _Service(f"worker-{n}", "worker", "-A", app_name, "-n", f"worker{n}@%h", *options)
        for n in range(1, workers + 1)
    ]
    services.append(_Service("api", "api", "-A", app_name, "--port", str(api_port)))
    if not no_flower:
        to_flower = (f"--port={flower_port}", "--logging=warning")
        services.append(_Service("flower", "flower", "-A", app_name, *to_flower))
        click.echo(f"Flower will be at http://127.0.0.1:{flower_port}")
    sys.exit(_Stack(services).run())


def _queues(app: Milepost) -> list[str]:
    """Return all queues that stages and other tasks of the application go to."""
    return sorted({*app.celery.amqp.queues, *Fleet(app).routed_queues()})


class _Service:
    """One ``milepost`` command in a process group of its own; its output is shown behind its name."""

    def __init__(self, name: str, *words: str) -> None:
        self.name = name
        self._words = words
        self._started = 0.0
        self.short_lives = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "milepost.control.cli", *self._words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Ctrl-C reaches this process alone, which then tells the others to leave in order.
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        threading.Thread(target=self._show, args=(self.process,), daemon=True).start()

    def watch(self) -> bool:
        """Start the process again if it has ended; False: that would be of no use."""
        assert self.process is not None
        code = self.process.poll()
        if code is None:
            return True
        # What it has left behind, such as the pool of a worker that was killed.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        lived = time.monotonic() - self._started
        self.short_lives = self.short_lives + 1 if lived < _SHORT_SECONDS else 0
        click.echo(f"{self.name:9} | ended with {code} after {lived:.0f} s", err=True)
        if self.short_lives >= (1 if code == _WRONG_USAGE else 3):
            return False
        self.start()
        return True

    def leave(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait(self, until: float) -> None:
        if self.process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.1, until - time.monotonic()))
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _show(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            # Who read this may have gone; what the process says must be taken all the same.
            with suppress(OSError):
                click.echo(f"{self.name:9} | {line.rstrip()}")


class _Stack:
    """Keeps services running until it is told to end."""

    def __init__(self, services: list[_Service]) -> None:
        self._services = services
        self._over = threading.Event()

    def run(self) -> int:
        """Return the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._end)
        code = 0
        try:
            for service in self._services:
                service.start()
            while not self._over.wait(0.2):
                for service in self._services:
                    if not service.watch():
                        click.echo(f"milepost: {service.name} does not stay up; ending.", err=True)
                        code = 1
                        self._over.set()
        finally:
            for service in self._services:
                service.leave()
            until = time.monotonic() + WorkerSettings().grace_seconds + _LEAVE_SECONDS
            for service in self._services:
                service.wait(until)
        return code

    def _end(self, signum: int, frame: FrameType | None) -> None:
        self._over.set()
