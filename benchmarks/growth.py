"""Whether a checkpoint costs the same however many there are, of its run and of others."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from milepost.checkpointing import (
    Checkpoint,
    CheckpointManager,
    CheckpointMetadata,
    Kind,
    Record,
    Serializer,
)
from support.redis_server import RedisServer

from .finding import Finding, finding
from .state import make_state

NAME = "growth"
_SAMPLES = 300
_REPEATS = 5
_BATCH = 5_000


def measure(url: str, folder: Path, repeats: int | None) -> list[Finding]:
    """Measure few and many side by side, on a server each."""
    rows = []
    for what, few, many in (("kept in the run", 10, 10_000), ("runs kept", 1_000, 1_000_000)):
        with ExitStack() as stack:
            servers = [stack.enter_context(RedisServer()) for _ in range(2)]
            managers = [stack.enter_context(CheckpointManager(each.url)) for each in servers]
            for manager, count in zip(managers, (few, many), strict=True):
                _fill(manager, count, in_one_run=what == "kept in the run")
            rows += _compare(what, few, many, managers, repeats or _REPEATS)
    return rows


def _fill(manager: CheckpointManager, count: int, *, in_one_run: bool) -> None:
    batch: list[Record] = []
    for record in _records(count, in_one_run):
        batch.append(record)
        if len(batch) == _BATCH:
            manager.store.put_all(batch)
            batch.clear()
    manager.store.put_all(batch)


def _records(count: int, in_one_run: bool) -> Iterator[Record]:
    serializer, state = Serializer(), make_state() if in_one_run else {"step": 1}
    for number in range(count):
        run_id, sequence = ("bench", number) if in_one_run else (f"run-{number:07}", 0)
        metadata = CheckpointMetadata(run_id=run_id, sequence=sequence, kind=Kind.MANUAL)
        yield serializer.encode(Checkpoint(metadata=metadata, state=state))


def _compare(
    what: str, few: int, many: int, managers: list[CheckpointManager], repeats: int
) -> list[Finding]:
    state = make_state()
    ratios: dict[str, list[float]] = {"create": [], "restore": [], "list ten": []}
    for _ in range(repeats):
        taken: dict[str, list[list[float]]] = {verb: [[], []] for verb in ratios}
        for sample in range(_SAMPLES):
            for place in (0, 1) if sample % 2 else (1, 0):
                manager = managers[place]
                calls: dict[str, Callable[[], object]] = {
                    "create": partial(manager.create, "bench", state),
                    "restore": partial(manager.restore, "bench"),
                    "list ten": partial(manager.list_checkpoints, "bench", limit=10),
                }
                for verb, call in calls.items():
                    began = time.perf_counter()
                    call()
                    taken[verb][place].append(time.perf_counter() - began)
            for manager in managers:
                # What was added goes again, so that few stay few.
                last = manager.store.latest("bench", Kind.MANUAL)
                assert last is not None
                manager.store.delete(last.key._replace(sequence=last.key.sequence - 1))
        for verb, (small, large) in taken.items():
            ratios[verb].append(statistics.median(large) / statistics.median(small))
    return [
        finding(
            NAME,
            f"{verb}, {many:,} / {few:,} {what}: p50",
            "×",
            values,
            at_most=1.1,
        )
        for verb, values in ratios.items()
    ]
