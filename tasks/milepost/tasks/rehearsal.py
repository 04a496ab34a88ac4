"""Whether runs in flight would go on with the code here: each is loaded as its stage due would get it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from milepost.checkpointing import CheckpointError, MilepostError, Record, Unavailable

from .errors import UnknownPipeline
from .head import Head, RunStatus
from .query import RunQuery
from .run_log import RunLog
from .stage import state_invalid

if TYPE_CHECKING:
    from .runtime import Runtime

IN_FLIGHT = frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.SCHEDULED, RunStatus.PAUSED})
"""Runs that go on by themselves, or when somebody resumes them. Failed ones are for `retry` to find out."""
_PAGE = 200
_THREADS = 8
_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One run, and what keeps it from going on."""

    run_id: str
    pipeline: str
    version: str
    """Under which it was last committed."""
    stage: str
    """The stage due, as the run store has it."""
    status: RunStatus
    obstacle: str = ""
    """The name of the error: empty if the run would go on."""
    reason: str = ""


class Rehearsal:
    """Reads the runs of a run store and their checkpoints, and writes nothing."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._run_log = RunLog(runtime.checkpoints)

    def runs(self, pipeline: str | None = None) -> Iterator[Rehearsed]:
        """Yield each run in flight, youngest first, with a page of them in memory at a time.

        Runs that are started meanwhile, by whatever code, are not among them.

        Raises:
            Unavailable: A store does not answer.
        """
        query = RunQuery(status=IN_FLIGHT, pipeline=pipeline)
        cursor: str | None = None
        with ThreadPoolExecutor(_THREADS, "milepost-rehearsal") as threads:
            while True:
                page = self._runtime.runs.find(query, cursor=cursor, limit=_PAGE)
                records = threads.map(self._fetch, page.items)
                for head, record in zip(page.items, records, strict=True):
                    if (rehearsed := self._rehearse(head, record)) is not None:
                        yield rehearsed
                if (cursor := page.cursor) is None:
                    return

    def _fetch(self, head: Head) -> Record | CheckpointError:
        try:
            return self._runtime.checkpoints.store.get(head.key)
        except CheckpointError as error:
            return error

    def _rehearse(self, head: Head, record: Record | CheckpointError) -> Rehearsed | None:
        """Try a run; None if it has ended meanwhile."""
        for _ in range(_LOOKS):
            try:
                self._load(head, record)
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001 - upcasters and validators are others' code
                now = self._runtime.runs.get(head.run_id)
                if now is None or now.status not in IN_FLIGHT:
                    return None
                if now.key != head.key or now.stage != head.stage:
                    # It has gone on, and what it was due with may be gone.
                    head, record = now, self._fetch(now)
                    continue
                ours = isinstance(error, MilepostError)
                reason = str(error) if ours else f"The code for its state failed: {error!r}"
                return _rehearsed(head, type(error).__name__, reason)
            else:
                return _rehearsed(head)
        # Whatever runs it knows it well.
        return _rehearsed(head)

    def _load(self, head: Head, record: Record | CheckpointError) -> None:
        versions = self._runtime.versions.get(head.pipeline)
        if versions is None:
            known = ", ".join(self._runtime.versions) or "none"
            raise UnknownPipeline(
                f"Pipeline {head.pipeline} is not defined here; known: {known}.", run_id=head.run_id
            )
        place = versions.place(head)
        if isinstance(record, CheckpointError):
            raise record
        try:
            self._run_log.read(record, place.pipeline, place.stage.input)
        except ValidationError as error:
            raise state_invalid(error, place.stage.name, head.run_id) from error


def _rehearsed(head: Head, obstacle: str = "", reason: str = "") -> Rehearsed:
    return Rehearsed(
        head.run_id, head.pipeline, head.version, head.stage, head.status, obstacle, reason
    )
