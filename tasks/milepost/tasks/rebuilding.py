"""A run store that was lost, rebuilt from the checkpoint store."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from milepost.checkpointing import (
    CheckpointError,
    CheckpointMetadata,
    Kind,
    Record,
    Refused,
    Status,
    Unavailable,
)

from .head import NOT_BEFORE, Head, RunStatus, with_facts

if TYPE_CHECKING:
    from .runtime import Runtime

logger = logging.getLogger("milepost")
_EPOCH = 1 << 20
"""Rebuilt runs have tokens above any that this many claims since the last commit can have reached."""
_TIMELINES = 1 << 8
"""The same of timelines: retries since the last commit have raised them, and strays that were in the way."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of one run of the log."""

    run_id: str
    status: RunStatus | None
    """In which it was rebuilt; None: it was not."""
    reason: str = ""
    """Why it was not."""
    is_known: bool = False
    """Whether that is because the run store has it."""


class Rebuilder:
    """Makes heads from logs, for all runs that have none.

    A run goes on behind its last commit, on a timeline and with tokens above all that was there: what old
    holders of claims still write is not taken for its own. What was completed, cancelled, paused or set aside
    is so again; what was deleted stays so. Times of retention begin anew. Doing it twice, or while workers
    run, does no harm.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._runs = runtime.runs
        self._log = runtime.checkpoints.store
        self._serializer = runtime.checkpoints.serializer

    def rebuild(self, *, dry_run: bool = False) -> Iterator[Rebuilt]:
        """Go through all runs of the log, one by one.

        Raises:
            Unavailable, Refused: A store does not answer; to do it again goes on where it stopped.
        """
        cursor: str | None = None
        while True:
            page = self._log.runs(cursor=cursor)
            for run_id in page.items:
                yield self._rebuild(run_id, dry_run)
            if (cursor := page.cursor) is None:
                return

    def _rebuild(self, run_id: str, dry_run: bool) -> Rebuilt:
        if self._runs.get(run_id) is not None:
            return Rebuilt(run_id, None, "the run store has it", is_known=True)
        try:
            last = self._log.latest(run_id)
            if last is None:
                return Rebuilt(run_id, None, "it has no commit: no pipeline made it")
            head = self._head(last)
        except (Unavailable, Refused):
            raise
        except CheckpointError as error:
            return Rebuilt(run_id, None, str(error))
        if isinstance(head, str):
            return Rebuilt(run_id, None, head)
        delay_ms = 0
        if head.status is RunStatus.QUEUED and head.sequence == 0:
            delay_ms = self._delay_ms(last)
            head = replace(head, status=RunStatus.SCHEDULED) if delay_ms > 0 else head
        if not dry_run and not self._runs.reinstate(head, delay_ms):
            return Rebuilt(run_id, None, "the run store has it", is_known=True)
        return Rebuilt(run_id, head.status)

    def _delay_ms(self, first: Record) -> int:
        """Return how long from now a run is to begin that nobody has begun."""
        facts = self._serializer.metadata(first.key, first.header).facts or {}
        with suppress(ValueError):
            return int(facts.get(NOT_BEFORE, "0")) - int(self._runtime.process.now() * 1000)
        return 0

    def _head(self, last: Record) -> Head | str:
        """Return what the run goes on with, or why it cannot."""
        committed = self._serializer.decode(last).metadata
        versions = self._runtime.versions.get(committed.pipeline or "")
        if versions is None:
            return f"no pipeline {committed.pipeline} is defined here"
        due = committed.next_stage or ""
        marker = self._marker(committed.run_id)
        status, error = _status(committed, marker)
        pipeline = versions.of(committed.pipeline_version or "")
        stage = pipeline.stages.get(pipeline.due_now(due) or "", pipeline.first)
        routed = self._runtime.routing.next(pipeline.name, stage)
        names = [*pipeline.stages]
        head = Head(
            run_id=committed.run_id,
            pipeline=pipeline.name,
            version=committed.pipeline_version or pipeline.version,
            digest="",
            stages_total=len(pipeline.stages),
            status=status,
            tags=committed.tags,
            timeline=_above(committed.timeline, marker.timeline if marker else 0, _TIMELINES),
            sequence=committed.sequence,
            checkpoint_id=committed.checkpoint_id,
            at=last.key.path,
            stage=due,
            queue=routed.queue if due else "",
            priority=routed.priority,
            time_limit_ms=routed.time_limit_ms,
            stages_done=names.index(stage.name) if due else len(names),
            token=_above(committed.token, marker.token if marker else 0, _EPOCH),
            error=error,
            pause=int(status is RunStatus.PAUSED),
            log_elsewhere=int(not self._runtime.log_in_runs),
            marked=status if status in (RunStatus.FAILED, RunStatus.PAUSED) else "",
            patience_ms=int(self._runtime.settings.patience_seconds * 1000),
        )
        newest = marker if marker and marker.parent == committed.checkpoint_id else committed
        return with_facts(head, newest.facts or {})

    def _marker(self, run_id: str) -> CheckpointMetadata | None:
        record = self._log.latest(run_id, Kind.MARKER)
        return None if record is None else self._serializer.metadata(record.key, record.header)


def _above(one: int, other: int, step: int) -> int:
    return (max(one, other) // step + 1) * step


def _status(
    committed: CheckpointMetadata, marker: CheckpointMetadata | None
) -> tuple[RunStatus, str]:
    """Return where the run stood, and why if it stood still."""
    if committed.status in (Status.COMPLETED, Status.CANCELLED):
        return RunStatus(committed.status), ""
    if marker is not None and marker.status in (Status.FAILED, Status.PAUSED):
        # Behind the commit it was set aside at there may be one that nobody has adopted; one of a later claim
        # says that it has gone on.
        stray = marker.parent == committed.parent and marker.token >= committed.token
        if stray or marker.parent == committed.checkpoint_id:
            return RunStatus(marker.status), marker.error or ""
    told = marker is not None and marker.parent == committed.checkpoint_id
    if committed.status in (Status.FAILED, Status.PAUSED) and not told:
        # It was edited or redirected while it stood still, and nobody has written a marker since.
        return RunStatus(committed.status), committed.error or ""
    return RunStatus.QUEUED, ""
