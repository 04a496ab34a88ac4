"""The rows of a run's way, from its checkpoints and its head."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from milepost.checkpointing import CheckpointMetadata
from milepost.control.dashboard.timeline import SCALE, Part, Row, timeline
from milepost.tasks import Head, RunStatus

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
HEAD = Head(
    run_id="r", pipeline="p", version="1", digest="", stages_total=3,
    plan=json.dumps(["a", "b", "c"]), stage="b", checkpoint_id="1",
)  # fmt: skip


def commit(
    number: int,
    stage: str | None,
    *,
    at: float,
    took: float = 1.0,
    parent: int | None = None,
    note: str | None = None,
) -> CheckpointMetadata:
    """Return a commit that was written *at* so many seconds, after so many of work."""
    created = BEGAN + timedelta(seconds=at)
    return CheckpointMetadata(
        run_id="r",
        sequence=number,
        checkpoint_id=str(number),
        parent=None if number == 0 else str(number - 1 if parent is None else parent),
        stage=stage,
        created_at=created,
        started_at=None if stage is None or note else created - timedelta(seconds=took),
        note=note,
        attempt=2,
    )


def rows(head: Head, *history: CheckpointMetadata) -> list[Row]:
    """Return the rows of a run with these checkpoints."""
    return timeline(head, history[::-1])


def test_waiting_and_work_are_told_apart() -> None:
    found = rows(HEAD, commit(0, None, at=0), commit(1, "a", at=5, took=2))

    stage = found[1]
    assert [row.part for row in found] == [Part.INPUT, Part.STAGE, Part.DUE, Part.AHEAD]
    assert (stage.waited, stage.took, stage.lost) == (3.0, 2.0, 1)
    assert [row.name for row in found[2:]] == ["b", "c"]


def test_what_was_left_behind_stays_in_sight() -> None:
    head = replace(HEAD, checkpoint_id="3", stage="a")
    found = rows(
        head,
        commit(0, None, at=0),
        commit(1, "a", at=2),
        commit(2, "b", at=4),
        commit(3, None, at=9, parent=0, note="rewound to a by ann"),
    )

    assert [(row.name, row.is_left) for row in found[:4]] == [
        ("input", False),
        ("a", True),
        ("b", True),
        ("rewound to a by ann", False),
    ]
    assert found[3].part is Part.COMMAND


@pytest.mark.parametrize("status", RunStatus)
def test_every_status_has_a_way(status: RunStatus) -> None:
    stage = "" if status is RunStatus.COMPLETED else "b"
    head = replace(HEAD, status=status, stage=stage, claimed_at=int(time.time() * 1000))

    found = rows(head, commit(0, None, at=0), commit(1, "a", at=5))

    due = [row for row in found if row.part is Part.DUE]
    assert bool(due) is (status not in (RunStatus.COMPLETED, RunStatus.CANCELLED))


@pytest.mark.parametrize("pause", [0.0, 3600.0, -50.0])
def test_bars_stay_on_the_axis_and_work_is_always_seen(pause: float) -> None:
    """However long a run waited, and however wrong a worker's clock was."""
    found = rows(
        HEAD,
        commit(0, None, at=0),
        commit(1, "a", at=1 + pause, took=1),
        commit(2, "b", at=2 + pause, took=0.0001),
    )

    bars = [bar for row in found for bar in (row.wait_bar, row.work_bar) if bar]
    assert all(bar.at >= 0 and bar.width > 0 and bar.at + bar.width <= SCALE + 0.2 for bar in bars)
    assert all(row.work_bar for row in found if row.part is Part.STAGE)


def test_without_checkpoints_there_is_what_is_due() -> None:
    assert [row.part for row in rows(HEAD)] == [Part.DUE, Part.AHEAD]


def test_a_way_in_a_circle_ends() -> None:
    """No store gives that, but a page must not hang on what somebody wrote there."""
    assert rows(
        replace(HEAD, checkpoint_id="2"), commit(1, "a", at=1, parent=2), commit(2, "b", at=2)
    )
