"""Starting runs by the thousand, against publishing as many plain tasks one by one."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from celery import Celery
from pydantic import BaseModel

from milepost.tasks import Milepost
from support.redis_server import RedisServer

from .finding import Finding, finding

NAME = "starting"
_RUNS = 20_000
_LOOP = 4_000
_REPEATS = 5


class State(BaseModel):
    """About a kilobyte."""

    n: int = 0
    text: str = "x" * 1000


def measure(url: str, folder: Path, repeats: int | None) -> list[Finding]:
    """Time both in turn, on a server of their own that is emptied in between."""
    ratios, rates, used = list[float](), list[float](), list[float]()
    with RedisServer() as server:
        app, start = _starter(server.url)
        plain = Celery("plain", broker=server.url, set_as_current=False)
        task = plain.task(name="noop", ignore_result=True)(_nothing)
        states = [State(n=number) for number in range(_RUNS)]
        arguments = [state.model_dump() for state in states[:_LOOP]]
        with closing(app):
            for _ in range(repeats or _REPEATS):
                app.runs.identity()
                start(states[:100])
                task.apply_async(args=(arguments[0],))
                before = _cpu_seconds(app)
                many = _seconds(start, states) / _RUNS
                used.append((_cpu_seconds(app) - before) / _RUNS * 1e6)

                def loop() -> None:
                    for argument in arguments:
                        task.apply_async(args=(argument,))

                one = _seconds(loop) / _LOOP
                ratios.append(one / many)
                rates.append(1 / many)
                client: Any = app.runs
                client.client.flushdb()
        app.celery.close()
        plain.close()
    return [
        finding(
            NAME,
            "runs a second by start_many / tasks by apply_async, 1 KB",
            "×",
            ratios,
            at_least=10,
        ),
        finding(NAME, "runs a second by start_many, 1 KB", "/s", rates),
        finding(NAME, "the server's CPU a run", "µs", used, at_most=50),
    ]


def _starter(url: str) -> tuple[Milepost, Callable[[list[State]], object]]:
    app = Milepost(url)
    pipeline = app.pipeline("bulk")

    @pipeline.stage
    def only(state: State) -> State:
        return state

    return app, pipeline.start_many


def _nothing(state: dict[str, Any]) -> None:
    """What the plain tasks would do."""


def _seconds(work: Callable[..., object], *arguments: Any) -> float:
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


def _cpu_seconds(app: Milepost) -> float:
    runs: Any = app.runs
    used = runs.client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])
