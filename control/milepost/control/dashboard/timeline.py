"""A run's way so far: what was done when, by whom, for how long, and what is still to come."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from milepost.checkpointing import CheckpointMetadata, Kind
from milepost.tasks import Head, RunStatus
from milepost.tasks.stage import Stage

SCALE = 1000.0
"""The length of the axis."""
_THINNEST = 4.0


class Part(StrEnum):
    """What a row is about."""

    INPUT = "input"
    STAGE = "stage"
    COMMAND = "command"
    """An operator's rewind, skip, edit or fork, or the end of a cancelled run."""
    SAVED = "saved"
    """A checkpoint that people or programs made."""
    DUE = "due"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class Bar:
    """A length on the axis, from 0 to `SCALE`."""

    at: float
    width: float


@dataclass(frozen=True, slots=True)
class Row:
    """One step of the way."""

    part: Part
    name: str
    metadata: CheckpointMetadata | None = None
    is_left: bool = False
    """Whether the run went back behind it and goes on elsewhere."""
    waited: float = 0.0
    """Seconds between the step before and its beginning."""
    took: float | None = None
    attempt: int = 0
    lost: int = 0
    """Tries before the one that counted."""
    worker: str = ""
    wait_bar: Bar | None = None
    work_bar: Bar | None = None
    ended_at: int = 0
    """When a run failed here; milliseconds of the store's clock."""
    is_wait_cut: bool = False
    """Whether the bar of waiting is shorter than the waiting was, so that work stays visible."""


def timeline(head: Head, history: Sequence[CheckpointMetadata]) -> list[Row]:
    """Return the rows of a run, oldest first.

    Args:
        history: The run's checkpoints, newest first; the oldest may be missing.
    """
    way = _way(head, history)
    rows: list[Row] = []
    before: datetime | None = None
    for metadata in sorted(history, key=lambda m: (m.created_at, m.timeline, m.sequence)):
        row = _row(metadata, metadata.checkpoint_id not in way)
        began = metadata.started_at or metadata.created_at
        if before is not None and row.part in (Part.STAGE, Part.COMMAND):
            row = replace(row, waited=max(0.0, (began - before).total_seconds()))
        before = max(before or metadata.created_at, metadata.created_at)
        rows.append(row)
    if (head.stage and not head.status.ended) or head.status is RunStatus.FAILED:
        rows.append(_due(head, before))
    rows += [Row(Part.AHEAD, name) for name in _ahead(head)]
    return _measured(rows)


def _way(head: Head, history: Sequence[CheckpointMetadata]) -> set[str]:
    """Return the ids of the checkpoints that led to where the run is, and of those beside the engine's."""
    by_id = {metadata.checkpoint_id: metadata for metadata in history}
    way = {m.checkpoint_id for m in history if m.kind is not Kind.COMMIT}
    at: str | None = head.checkpoint_id
    while at in by_id and at not in way:
        assert at is not None
        way.add(at)
        at = by_id[at].parent
    return way


def _row(metadata: CheckpointMetadata, is_left: bool) -> Row:
    took = None
    if metadata.started_at is not None:
        took = max(0.0, (metadata.created_at - metadata.started_at).total_seconds())
    row = Row(
        Part.STAGE,
        metadata.stage or "input",
        metadata,
        is_left,
        took=took,
        attempt=metadata.attempt,
        lost=metadata.attempt - 1,
        worker=metadata.worker or "",
    )
    if metadata.kind is not Kind.COMMIT:
        return replace(
            row, part=Part.SAVED, name=metadata.stage or "checkpoint", lost=0, is_left=False
        )
    if metadata.note is not None or metadata.status == "cancelled":
        return replace(row, part=Part.COMMAND, name=metadata.note or "cancelled", lost=0)
    if metadata.stage is None:
        return replace(row, part=Part.INPUT, lost=0)
    return row


def _due(head: Head, before: datetime | None) -> Row:
    if head.status is RunStatus.FAILED:
        lost = head.failures + head.crashes + head.suspicions
        return Row(
            Part.DUE,
            head.stage,
            attempt=head.attempt,
            lost=lost,
            worker=head.worker,
            ended_at=head.finished_at,
        )
    runs = head.status is RunStatus.RUNNING and head.claimed_at > 0
    began = datetime.fromtimestamp(head.claimed_at / 1000, UTC) if runs else datetime.now(UTC)
    waited = max(0.0, (began - before).total_seconds()) if before else 0.0
    took = max(0.0, time.time() - head.claimed_at / 1000) if runs else None
    lost = head.failures + head.crashes + head.suspicions
    return Row(
        Part.DUE,
        head.stage,
        waited=waited,
        took=took,
        attempt=head.attempt,
        lost=lost,
        worker=head.worker if runs or head.attempt else "",
    )


def _ahead(head: Head) -> list[str]:
    """Return the names of the stages after the one due, as they were planned at the last commit."""
    if head.status in (RunStatus.COMPLETED, RunStatus.CANCELLED):
        return []
    names: list[str] = json.loads(head.plan) if head.plan else []
    return names[names.index(head.stage) + 1 :] if head.stage in names else []


def _measured(rows: list[Row]) -> list[Row]:
    """Give rows their bars: in order, to scale, but no waiting longer than all the work."""
    work = sum(row.took or 0.0 for row in rows)
    longest = max(work, 0.05)
    shown = [min(row.waited, longest) for row in rows]
    total = sum(shown) + work or 1.0
    # What is too thin to be seen is drawn thicker, and the rest makes room.
    at, measured = 0.0, []
    for row, waited in zip(rows, shown, strict=True):
        wait = waited / total * SCALE
        width = (row.took or 0.0) / total * SCALE
        thick = max(width, _THINNEST)
        drawn = row.part in (Part.STAGE, Part.DUE) and row.took is not None
        measured.append(
            replace(
                row,
                wait_bar=Bar(round(at, 1), round(wait, 1)) if wait >= 1 else None,
                work_bar=Bar(round(min(at + wait, SCALE - thick), 1), round(thick, 1))
                if drawn
                else None,
                is_wait_cut=row.waited > longest,
            )
        )
        at += wait + width
    return measured


def stages_before(
    head: Head, stages: dict[str, Stage], history: Sequence[CheckpointMetadata]
) -> list[str]:
    """Return the stages to which a run can go back: those that were due on its way, in their order."""
    way = _way(head, history)
    due = {m.next_stage for m in history if m.checkpoint_id in way and m.next_stage}
    return [name for name in stages if name in due]
