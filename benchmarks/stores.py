"""Checkpoints created and restored in each store, as ratios to the raw call with the same bytes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from milepost.checkpointing import CheckpointManager, Kind
from milepost.checkpointing.serializer import piece_key
from support.postgres_server import PostgresServer
from support.s3_server import SeaweedServer, store_url

from .finding import Finding, finding
from .raw_calls import RawCalls, RawFiles, RawPostgres, RawRedis, RawS3, RawSQLite
from .state import make_state

NAME = "stores"
_REPEATS = 3
_SAMPLES = {1_000: 60, 100_000: 30, 10_000_000: 4}
_CUT_FROM = 1024 * 1024
_GOALS = {("Redis", 1_000): 2.0, ("files", 1_000): 1.5}


def measure(url: str, folder: Path, repeats: int | None) -> list[Finding]:
    """Measure every store at every size."""
    with ExitStack() as stack:
        return [
            row
            for name, address, raw in _stores(url, folder, stack)
            for size in _SAMPLES
            for row in _measure(name, address, raw, size, repeats or _REPEATS)
        ]


def _stores(url: str, folder: Path, stack: ExitStack) -> Iterator[tuple[str, str, RawCalls]]:
    yield "Redis", url, RawRedis(url)
    files = f"file://{folder}/checkpoints"
    yield "files", files, RawFiles(files)
    sqlite = f"sqlite:///{folder}/checkpoints.db"
    yield "SQLite", sqlite, RawSQLite(sqlite)
    postgres = stack.enter_context(PostgresServer()).url
    yield "PostgreSQL", postgres, RawPostgres(postgres)
    s3 = store_url(stack.enter_context(SeaweedServer()).endpoint, "bench")
    yield "S3", s3, RawS3(s3)


def _measure(name: str, url: str, raw: RawCalls, size: int, repeats: int) -> list[Finding]:
    state, run_id = make_state(size), f"bench-{size}"
    with CheckpointManager(url) as manager:
        manager.create(run_id, state)
        data = _stored(manager, run_id)
        ratios: dict[str, list[float]] = {"create": [], "restore": []}
        notes: dict[str, str] = {}
        for repeat in range(repeats):
            taken: dict[str, list[float]] = {
                each: [] for each in ("create", "write", "restore", "read")
            }
            for sample in range(_SAMPLES[size]):
                key = f"{size}-{repeat}-{sample}"
                # What is cut into pieces gets a run of its own, so that none is shared with an earlier one.
                fresh = f"{run_id}-{key}" if size > _CUT_FROM else run_id
                taken["create"].append(_seconds(partial(manager.create, fresh, state)))
                taken["write"].append(_seconds(partial(raw.write, key, data)))
                taken["restore"].append(_seconds(lambda: manager.restore(run_id)))
                taken["read"].append(_seconds(partial(raw.read, key)))
            medians = {each: statistics.median(values) for each, values in taken.items()}
            for ours, theirs in (("create", "write"), ("restore", "read")):
                ratios[ours].append(medians[ours] / medians[theirs])
                notes[ours] = f"{medians[ours] * 1000:.2f} against {medians[theirs] * 1000:.2f} ms"
                if fresh != run_id:
                    manager.delete_run(fresh)
        manager.delete_run(run_id)
    return [
        finding(
            NAME,
            f"{name}, {size // 1000:,} KB: {verb} / raw call",
            "×",
            ratios[verb],
            at_most=_GOALS.get((name, size)) if verb == "create" else None,
            note=notes[verb],
        )
        for verb in ("create", "restore")
    ]


def _stored(manager: CheckpointManager, run_id: str) -> bytes:
    """Return the bytes that a checkpoint takes."""
    record = manager.store.latest(run_id, Kind.MANUAL)
    assert record is not None
    manifest = manager.serializer.manifest(record)
    keys = [piece_key(run_id, piece) for piece in manifest.pieces] if manifest else []
    parts = [record, *manager.store.get_all(keys)]
    return b"".join(part.header + part.body for part in parts)


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
