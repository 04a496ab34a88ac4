"""Stages a second, and processor time a stage, as ratios to a plain Celery chain.

The workers of all contenders stand side by side, warmed up and paused, each on a database of its own. In
turn, runs are submitted to one of them, it is let go, and the clock runs until the last of these runs
entered its last stage. Turns take seconds: long enough that waking up and running dry hardly count, short
enough that other work on the machine hits the contenders of one round alike. The ratios are those of rounds,
of which the median is taken.

Milepost's workers send task events only while somebody receives them; so there are two of them. The base
is Celery as ``pip install celery[redis]`` brings it. Milepost brings hiredis along, which helps plain
Celery, too; the ratio to that tells what is Milepost's own doing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import redis

from .apps import burst, chain, noop
from .finding import Finding, finding
from .probe import Probe
from .state import make_state
from .workers import Workers, celery_command, milepost_command

NAME = "throughput"
GOAL = 1.8
_ROUNDS = 15
_RUNS_A_TURN = 100
_WARM_UP_RUNS = 20
_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What one turn took."""

    stages_a_second: float
    main_ms: float
    """Processor time of the worker's main process, a stage."""
    pool_ms: float
    server_ms: float

    @property
    def processor_ms(self) -> float:
        """Of all of them."""
        return self.main_ms + self.pool_ms + self.server_ms


class Contender:
    """A worker of an application, on the database *number* of the server at *url*.

    Args:
        watched: Somebody receives its events, as Flower would, but takes no processor time for it.
    """

    def __init__(
        self,
        name: str,
        module: Any,
        command: Callable[[], list[str]],
        url: str,
        number: int,
        *,
        watched: bool = False,
    ) -> None:
        self.name = name
        self.costs: list[Cost] = []
        self._url = f"{url.rpartition('/')[0]}/{number}"
        self._module, self._command = module, command
        self._watcher = redis.Redis.from_url(self._url).pubsub() if watched else None
        self._events = f"/{number}.celeryev/*"
        with redis.Redis.from_url(url) as client:
            info: Any = client.info("server")
        self._server = psutil.Process(info["process_id"])
        self._probe = Probe(url)
        self._app = module.build(self._url)

    def start(self, stack: ExitStack, folder: Path) -> None:
        """Start the worker, warm it up and pause it; *stack* ends it."""
        if self._watcher is not None:
            stack.enter_context(self._watcher).psubscribe(self._events)
        name = self._module.__name__.rpartition(".")[2]
        self._workers = Workers(self._url, name, self._command(), folder)
        stack.enter_context(self._workers).wait_ready()
        stack.enter_context(self._probe)
        stack.callback(self._module.close, self._app)
        self._submit(_WARM_UP_RUNS)
        self._probe.hear_all("done", _WARM_UP_RUNS, _SECONDS)
        time.sleep(0.5)
        self._workers.pause()

    def take_turn(self) -> Cost:
        """Return what a stage of some runs has taken."""
        self._submit(_RUNS_A_TURN)
        before = self._used()
        began = time.time()
        self._workers.go_on()
        notes = self._probe.hear_all("done", _RUNS_A_TURN, _SECONDS)
        used = [after - then for after, then in zip(self._used(), before, strict=True)]
        # The last stage has told of itself, but is not committed yet.
        time.sleep(0.1)
        self._workers.pause()
        self._look_at_events()
        whole = {note["run"] for note in notes if note["n"] == noop.STAGES}
        if len(whole) != _RUNS_A_TURN:
            raise AssertionError(f"{self.name}: runs came out wrong: {notes}")
        seconds = max(float(note["at"]) for note in notes) - began
        stages = _RUNS_A_TURN * noop.STAGES
        return Cost(stages / seconds, *(each * 1000 / stages for each in used))

    def _submit(self, count: int) -> None:
        state = make_state()
        for _ in range(count):
            self._module.submit(self._app, uuid4().hex, state)

    def _look_at_events(self) -> None:
        if self._watcher is None:
            return
        seen = iter(self._watcher.get_message, None)
        if not any(b"task.multi" in (message["channel"] or b"") for message in seen):
            raise AssertionError(f"{self.name}: no task events were sent")

    def _used(self) -> tuple[float, float, float]:
        """Return the processor seconds of main process, pool and server until now."""
        main = psutil.Process(self._workers.pid)
        pool = sum(_seconds(process) for process in main.children())
        return _seconds(main), pool, _seconds(self._server)


def _seconds(process: psutil.Process) -> float:
    taken = process.cpu_times()
    return float(taken.user + taken.system)


def measure(url: str, folder: Path, repeats: int | None) -> list[Finding]:
    """Let all contenders take turns."""
    with redis.Redis.from_url(url) as client:
        client.flushall()
    base = Contender("Celery chain", chain, celery_command, url, 0)
    milepost = Contender("Milepost", noop, milepost_command, url, 2)
    watched = Contender("Milepost, watched", noop, milepost_command, url, 3, watched=True)
    hiredis = Contender(
        "Celery chain, hiredis", chain, lambda: celery_command(hiredis=True), url, 4
    )
    bursting = Contender("Milepost, burst", burst, milepost_command, url, 5)
    burst_seen = Contender(
        "Milepost, burst, watched", burst, milepost_command, url, 6, watched=True
    )
    contenders = [base, milepost, watched, bursting, burst_seen, hiredis]
    with ExitStack() as stack:
        for contender in contenders:
            contender.start(stack, folder)
        for number in range(repeats or _ROUNDS):
            _round(number, contenders)
    pairs = [(own, base) for own in (milepost, watched, bursting, burst_seen)]
    pairs.append((milepost, hiredis))
    shares = (("main process", "main_ms"), ("pool", "pool_ms"), ("server", "server_ms"))
    return [
        *(
            _ratio("stages/s", "stages_a_second", *pair, GOAL if pair == pairs[0] else None)
            for pair in pairs
        ),
        *(_ratio("processor ms a stage", "processor_ms", *pair, None) for pair in pairs),
        *(_ratio(f"{who}, ms a stage", share, milepost, base, None) for who, share in shares),
    ]


def _round(number: int, contenders: Sequence[Contender]) -> None:
    """Let each take a turn, another one first each time."""
    first = number % len(contenders)
    for contender in (*contenders[first:], *contenders[:first]):
        contender.costs.append(contender.take_turn())


def _ratio(
    what: str, figure: str, own: Contender, base: Contender, at_least: float | None
) -> Finding:
    values, others = ([getattr(cost, figure) for cost in one.costs] for one in (own, base))
    return finding(
        NAME,
        f"{what}: {own.name} / {base.name}",
        "×",
        [value / other for value, other in zip(values, others, strict=True)],
        at_least=at_least,
        note=f"{statistics.median(values):.4g} against {statistics.median(others):.4g}",
    )
