"""The checkpoint store: what is written is read again, and of two writers one wins."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex

from milepost.checkpointing import AlreadyExists, CheckpointKey, CheckpointStore, Record

from .base import Check, Finding
from .site import Site

_WRITERS = 8
_ROUNDS = 3


class RoundTrip(Check):
    """A checkpoint is written, read with its checksums, and removed."""

    name = "checkpoint store"

    def findings(self, site: Site) -> Iterator[Finding]:
        manager = site.app.checkpoints
        where, run_id = manager.store.location, _probe_id()
        state = {"probe": token_hex(32 * 1024)}
        try:
            written = manager.create(run_id, state, step_name="doctor")
            found = None if written is None else manager.get(written.metadata.key)
        finally:
            manager.delete_run(run_id)
        if found is None or found.state != state:
            yield self.fail(
                "A checkpoint was written, and another read in its place.",
                "Do not use this store.",
                where,
            )
        else:
            yield self.ok("A checkpoint was written, read with its checksums, and removed.", where)


class OneWinner(Check):
    """Several write under one key at once; each is told the truth about who was first."""

    name = "create-only writes"

    def findings(self, site: Site) -> Iterator[Finding]:
        store = site.app.checkpoints.store
        run_id = _probe_id()
        try:
            winners = [_race(store, CheckpointKey(run_id, number)) for number in range(_ROUNDS)]
        finally:
            store.delete_run(run_id)
        if winners == [1] * _ROUNDS:
            yield self.ok(f"Of {_WRITERS} writers of one key one wins.", store.location)
        else:
            yield self.fail(
                f"Of {_WRITERS} writers of one key {max(winners)} were told that they had won: two workers "
                "could both believe they had committed a stage.",
                "Use a server whose conditional writes are atomic (AWS S3, SeaweedFS, MinIO, Ceph).",
                store.location,
            )


def _race(store: CheckpointStore, key: CheckpointKey) -> int:
    """Let several write different records under *key* at once; return how many believe they have."""
    barrier = threading.Barrier(_WRITERS)

    def write(number: int) -> bool:
        record = Record(key, b"doctor", str(number).encode())
        barrier.wait(10)
        try:
            store.put(record)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(_WRITERS) as threads:
        return sum(threads.map(write, range(_WRITERS)))


def _probe_id() -> str:
    return f"doctor-{token_hex(8)}"
