"""Seconds until a stage whose process was lost runs again."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import redis

from milepost.tasks import Milepost
from milepost.tasks.settings import TaskSettings

from .apps import crash
from .finding import Finding, finding
from .probe import Probe
from .workers import Workers, milepost_command

NAME = "recovery"
_REPEATS = 5
_HOST_REPEATS = 2
_SECONDS = 60.0
_CHILD_GOAL = 1.0
_WORKER_GOAL = 1.5
_HOST_SLACK = 2.0


def measure(url: str, folder: Path, repeats: int | None) -> list[Finding]:
    """Lose a pool child, a whole worker, and a whole host."""
    with redis.Redis.from_url(url) as client:
        client.flushall()
    app = crash.build(url)
    with Probe(url) as probe:
        try:
            return [
                *_lose_children(url, folder, app, probe, repeats or _REPEATS),
                *_lose_workers(url, folder, app, probe, repeats or _REPEATS),
                *_lose_hosts(url, folder, app, probe, repeats or _HOST_REPEATS),
            ]
        finally:
            app.close()


def _lose_children(
    url: str, folder: Path, app: Milepost, probe: Probe, repeats: int
) -> list[Finding]:
    taken = []
    with Workers(url, "crash", milepost_command(), folder) as workers:
        workers.wait_ready()
        for _ in range(repeats):
            run, pid = _start(app, probe)
            killed = time.time()
            os.kill(pid, signal.SIGKILL)
            taken.append(_again(probe, run) - killed)
    goal = _CHILD_GOAL
    return [finding(NAME, "pool child killed: from the kill", "s", taken, at_most=goal)]


def _lose_workers(
    url: str, folder: Path, app: Milepost, probe: Probe, repeats: int
) -> list[Finding]:
    from_kill, from_start, from_ready = [], [], []
    workers = Workers(url, "crash", milepost_command(), folder)
    try:
        workers.wait_ready()
        for _ in range(repeats):
            run, _pid = _start(app, probe)
            killed = time.time()
            workers.end()
            workers = Workers(url, "crash", milepost_command(), folder)
            workers.wait_ready()
            again = _again(probe, run)
            from_kill.append(again - killed)
            from_start.append(again - workers.started_at)
            from_ready.append(again - workers.ready_at)
    finally:
        workers.end()
    name, goal = "worker killed, a new one at once", _WORKER_GOAL
    return [
        finding(NAME, f"{name}: from the kill", "s", from_kill, at_most=goal),
        finding(NAME, f"{name}: from the new one's start", "s", from_start),
        finding(NAME, f"{name}: from its readiness", "s", from_ready),
    ]


def _lose_hosts(url: str, folder: Path, app: Milepost, probe: Probe, repeats: int) -> list[Finding]:
    """A paused worker is like a host cut off: its locks stay, and so do its connections."""
    taken = []
    for _ in range(repeats):
        with Workers(url, "crash", milepost_command(), folder) as victim:
            victim.wait_ready()
            run, _pid = _start(app, probe)
            with Workers(url, "crash", milepost_command(), folder) as other:
                other.wait_ready()
                victim.pause()
                lost = time.time()
                taken.append(_again(probe, run) - lost)
    lapse = TaskSettings().heartbeat_lapse_seconds
    return [
        finding(
            NAME,
            "host vanished, another worker lives: from its last sign",
            "s",
            taken,
            at_most=lapse + _HOST_SLACK,
            note=f"heartbeat lapse {lapse:g} s",
        )
    ]


def _start(app: Milepost, probe: Probe) -> tuple[str, int]:
    """Start a run and return its id and the process that hangs in its second stage."""
    run = app.start(crash.PIPELINE, {})
    pid = probe.hear(f"started {run.id}", _SECONDS)["pid"]
    time.sleep(0.5)
    return run.id, pid


def _again(probe: Probe, run_id: str) -> float:
    """Return the moment at which the stage started again, once the run is done."""
    note = probe.hear(f"started {run_id}", _SECONDS)
    if note["attempt"] != 2:
        raise AssertionError(f"expected the second attempt, not {note}")
    probe.hear(f"done {run_id}", _SECONDS)
    return float(note["at"])
