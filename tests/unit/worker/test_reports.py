"""What workers write of themselves, and what is made of it by others."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from milepost.worker.fleet import WorkerReport

REPORT = WorkerReport(
    name="celery@here",
    host="here",
    pid=7,
    pool="prefork",
    concurrency=2,
    queues=("heavy", "milepost"),
    started_at=1,
    seen_at=2,
    state="up",
    versions={"flights": "2"},
    holding=("run-1",),
    busy={"heavy": 1},
    known={"flights 2": ("load", "clean")},
    software={"python": "3.11"},
)


def test_what_is_written_is_read() -> None:
    assert WorkerReport.from_json(REPORT.to_json()) == REPORT


def test_another_release_may_know_more_or_less() -> None:
    raw = asdict(REPORT) | {"mood": "good"}
    del raw["busy"], raw["known"], raw["software"]

    read = WorkerReport.from_json(json.dumps(raw))

    assert read == replace(REPORT, busy={}, known={}, software={})


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"queues": 1}', '{"name": "x"}'])
def test_what_is_no_report(text: str) -> None:
    with pytest.raises(ValueError):
        WorkerReport.from_json(text)


def test_the_key_tells_processes_apart() -> None:
    others = [replace(REPORT, pid=8), replace(REPORT, host="there"), replace(REPORT, name="x@y")]

    assert len({report.key for report in [REPORT, *others]}) == 4
