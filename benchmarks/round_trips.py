"""How often a stage talks to Redis: Milepost's own round trips, and Celery's.

A round trip is a command that a client sent; what a script calls inside the server is none, nor is the
reading of a head in one packet with its script. The server's statistics count all alike, so they only
cross-check the scripts; who sent what, MONITOR tells.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis

from .apps import noop
from .finding import Finding, finding
from .probe import DATABASE, Probe
from .state import make_state
from .workers import Workers, milepost_command

NAME = "round_trips"
GOAL = 2.5
CELERYS_GOAL = 1.5
_RUNS = 30
_SECONDS = 60.0
_IN_ONE = ("EVALSHA", "HGETALL")
"""A script, and the reading that the connections of scripts send along with it and at no other time."""


@dataclass(slots=True)
class Traffic:
    """Commands that the worker's processes sent while *stages* stages ran."""

    stages: int
    own: Counter[str] = field(default_factory=Counter)
    """Over connections of Milepost's stores."""
    others: Counter[str] = field(default_factory=Counter)
    """Over all other connections: Celery's and kombu's."""
    scripts: int = 0
    """Script calls by the server's own count."""

    def own_a_stage(self) -> float:
        """Milepost's round trips a stage, its background work included."""
        return self.own.total() / self.stages

    def others_a_stage(self) -> float:
        """Celery's round trips a stage."""
        return self.others.total() / self.stages


def measure(url: str, folder: Path, repeats: int | None) -> list[Finding]:
    """Count once a repeat."""
    counted = [count(url, folder) for _ in range(repeats or 1)]
    last = counted[-1]
    return [
        finding(
            NAME,
            "Milepost's own round trips a stage",
            "",
            [traffic.own_a_stage() for traffic in counted],
            at_most=GOAL,
            note=_listed(last.own, last.stages),
        ),
        finding(
            NAME,
            "script calls a stage by INFO commandstats",
            "",
            [traffic.scripts / traffic.stages for traffic in counted],
        ),
        finding(
            NAME,
            "Celery's round trips a stage",
            "",
            [traffic.others_a_stage() for traffic in counted],
            at_most=CELERYS_GOAL,
            note=_listed(last.others, last.stages),
        ),
    ]


def count(url: str, folder: Path, runs: int = _RUNS) -> Traffic:
    """Let a real worker do *runs* runs and count what it sends meanwhile."""
    with redis.Redis.from_url(url) as client, Probe(url) as probe:
        client.flushall()
        app = noop.build(url)
        with Workers(url, "noop", milepost_command(), folder) as workers:
            workers.wait_ready()
            _start(app, 5)
            probe.hear_all("done", 5, _SECONDS)
            time.sleep(0.5)
            workers.pause()
            _start(app, runs)
            app.close()
            before = _script_calls(client)
            tap = _Tap(url)
            workers.go_on()
            probe.hear_all("done", runs, _SECONDS)
            lines = tap.close()
            traffic = Traffic(runs * noop.STAGES, scripts=_script_calls(client) - before)
    _sort(lines, traffic)
    return traffic


def _start(app: Any, runs: int) -> None:
    state = make_state()
    for _ in range(runs):
        app.start(noop.PIPELINE, state)


def _sort(lines: list[dict[str, Any]], traffic: Traffic) -> None:
    """A connection is Milepost's if it ever named one of Milepost's keys."""
    sent = [line for line in lines if line["client_type"] != "lua" and line["db"] != DATABASE]
    sent = [line for line in sent if line["command"].partition(" ")[0].upper() != "INFO"]
    place = [(line["client_address"], line["client_port"]) for line in sent]
    own = {
        where for where, line in zip(place, sent, strict=True) if "milepost:{" in line["command"]
    }
    before: dict[Any, str] = {}
    for where, line in zip(place, sent, strict=True):
        command = line["command"].partition(" ")[0].upper()
        along = where in own and (before.get(where), command) == _IN_ONE
        before[where] = command
        if not along:
            (traffic.own if where in own else traffic.others)[command] += 1


def _script_calls(client: redis.Redis) -> int:
    stats: Any = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


def _listed(commands: Counter[str], stages: int) -> str:
    shares = ((name, number / stages) for name, number in commands.most_common(6))
    return ", ".join(f"{name} {share:.2f}" for name, share in shares if share >= 0.005)


class _Tap:
    """Reads MONITOR in a thread until a mark of its own comes by."""

    def __init__(self, url: str) -> None:
        self._mark = uuid4().hex
        self._url = url
        self._lines: list[dict[str, Any]] = []
        self._open = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        if not self._open.wait(10):
            raise TimeoutError("MONITOR did not begin")

    def close(self) -> list[dict[str, Any]]:
        """Return all commands seen so far."""
        with redis.Redis.from_url(self._url) as client:
            client.echo(self._mark)
        self._thread.join(timeout=30)
        return self._lines

    def _read(self) -> None:
        with redis.Redis.from_url(self._url) as client, client.monitor() as monitor:
            self._open.set()
            while self._mark not in (line := monitor.next_command())["command"]:
                self._lines.append(line)
