"""Whether a page of runs costs the same however many there are."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from milepost.checkpointing import CheckpointKey
from milepost.tasks import Head, RunQuery, RunStatus
from milepost.tasks.runs.base import Birth
from milepost.tasks.runs.redis import RedisRunStore
from support.redis_server import RedisServer

from .finding import Finding, finding

NAME = "listing"
_SIZES = (1_000, 1_000_000)
_SAMPLES = 100
_REPEATS = 5
_BATCH = 4_000
_PAGE = 50


def measure(url: str, folder: Path, repeats: int | None) -> list[Finding]:
    """Read pages of few and of many side by side, on a server each."""
    queries = {
        "all": RunQuery(),
        "one tag": RunQuery(tag="night"),
        "one pipeline and status": RunQuery.of(RunStatus.QUEUED, pipeline="p3"),
    }
    taken: dict[str, list[float]] = {name: [] for name in queries}
    ratios: dict[str, list[float]] = {name: [] for name in queries}
    with ExitStack() as stack:
        stores = []
        for size in _SIZES:
            server = stack.enter_context(RedisServer())
            store = RedisRunStore(server.url)
            stack.callback(store.close)
            _fill(store, size)
            stores.append(store)
        for _ in range(repeats or _REPEATS):
            for name, query in queries.items():
                samples = [list[float](), list[float]()]
                for turn in range(_SAMPLES):
                    for place in (0, 1) if turn % 2 else (1, 0):
                        samples[place].append(_milliseconds(stores[place], query))
                few, many = (statistics.median(times) for times in samples)
                taken[name].append(many)
                ratios[name].append(many / few)
    rows = []
    for name in queries:
        what = f"a page of {_PAGE} of {_SIZES[1]:,} runs, {name}"
        rows.append(finding(NAME, f"{what}: p50", "ms", taken[name], at_most=5))
        rows.append(finding(NAME, f"{what} / of {_SIZES[0]:,}", "×", ratios[name], at_most=1.2))
    return rows


def _fill(store: RedisRunStore, size: int) -> None:
    for first in range(0, size, _BATCH):
        numbers = range(first, min(size, first + _BATCH))
        for kind in range(4):
            names = [f"run-{number:07}" for number in numbers if number % 4 == kind]
            head = replace(_pattern(f"p{kind}"), tags=("night",) if kind == 1 else ())
            store.create_many(head, [Birth(name, "d", f"c-{name}") for name in names])


def _pattern(pipeline: str) -> Head:
    at = CheckpointKey("any", 0).path
    return Head("any", pipeline, "1", "d", 2, at=at, stage="first", queue="celery")


def _milliseconds(store: RedisRunStore, query: RunQuery) -> float:
    began = time.perf_counter()
    page = store.find(query, limit=_PAGE)
    took = time.perf_counter() - began
    assert len(page.items) == _PAGE
    return took * 1000
