"""Stages a second, as a ratio to a plain Celery chain in the same interleaved repeat.

The workers are warmed up and paused while all runs are submitted; the clock runs from the moment they
are let go to the entry of the last run's last stage.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import redis

from .apps import chain, noop
from .finding import Finding, finding
from .probe import Probe
from .state import make_state
from .workers import Workers, celery_command, milepost_command

NAME = "throughput"
GOAL = 1.8
_RUNS = 150
_WARM_UP_RUNS = 20
_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class _Contender:
    name: str
    app: str
    command: Callable[[], list[str]]


_CHAIN = _Contender("Celery chain", "chain", celery_command)
_MILEPOST = _Contender("Milepost", "noop", milepost_command)
_SILENT = _Contender("Milepost, events off", "noop", lambda: milepost_command(events=False))
_CONTENDERS = (_CHAIN, _MILEPOST, _SILENT)


def measure(url: str, folder: Path, repeats: int | None) -> list[Finding]:
    """Measure all contenders once a repeat, in turning order."""
    rates: dict[str, list[float]] = {contender.name: [] for contender in _CONTENDERS}
    for repeat in range(repeats or 3):
        turn = repeat % len(_CONTENDERS)
        for contender in _CONTENDERS[turn:] + _CONTENDERS[:turn]:
            rates[contender.name].append(_rate(url, folder, contender))
    base = rates[_CHAIN.name]
    return [
        finding(
            NAME,
            f"{contender.name} / {_CHAIN.name}",
            "×",
            [own / other for own, other in zip(rates[contender.name], base, strict=True)],
            at_least=GOAL if contender is _MILEPOST else None,
            note=f"{statistics.median(rates[contender.name]):.0f} against "
            f"{statistics.median(base):.0f} stages/s",
        )
        for contender in (_MILEPOST, _SILENT)
    ]


def _rate(url: str, folder: Path, contender: _Contender) -> float:
    with redis.Redis.from_url(url) as client:
        client.flushall()
    with (
        Probe(url) as probe,
        Workers(url, contender.app, contender.command(), folder) as workers,
    ):
        workers.wait_ready()
        _submit(url, contender, _WARM_UP_RUNS)
        probe.hear_all("done", _WARM_UP_RUNS, _SECONDS)
        time.sleep(0.5)
        workers.pause()
        _submit(url, contender, _RUNS)
        time.sleep(0.2)
        began = time.time()
        workers.go_on()
        notes = probe.hear_all("done", _RUNS, _SECONDS)
    wrong = [note for note in notes if note["n"] != noop.STAGES]
    if wrong or len({note["run"] for note in notes}) != _RUNS:
        raise AssertionError(f"{contender.name}: runs came out wrong: {wrong[:3]}")
    seconds = max(float(note["at"]) for note in notes) - began
    return _RUNS * noop.STAGES / seconds


def _submit(url: str, contender: _Contender, count: int) -> None:
    state = make_state()
    if contender is _CHAIN:
        celery = chain.build(url)
        for _ in range(count):
            chain.submit(celery, uuid4().hex, state)
        celery.close()
    else:
        app = noop.build(url)
        for _ in range(count):
            app.start(noop.PIPELINE, state)
        app.runtime.close()
