"""One trace a run, across workers, pool processes, a kill and a retry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acceptance.arena import Arena
from acceptance.pipelines import STAGES, Trail
from support.processes import Worker
from support.shell import milepost

APP = "acceptance.traced_app"


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    with Arena(tmp_path, env={"TEST_SPANS": str(tmp_path / "spans")}) as arena:
        yield arena


def follow(arena: Arena, run_id: str) -> None:
    """Start a run in a process that has set OpenTelemetry up, and follow it to its end."""
    words = ("start", "traced", "{}", "-A", APP, "--run-id", run_id, "--watch")
    done = milepost(arena.folder, arena.env, *words)
    assert done.returncode == 0, done.stdout + done.stderr


def spans(path: Path) -> list[dict[str, Any]]:
    """Return what all processes have written."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(span: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(span["attributes"].get(f"milepost.{name}") for name in names)


def test_a_run_is_one_trace(arena: Arena) -> None:
    """Each try that came to an end is a span below the start; the stage's own spans lie in it."""
    with (
        Worker(APP, arena.folder, arena.env, name="one") as one,
        Worker(APP, arena.folder, arena.env, name="two") as two,
    ):
        one.wait_ready()
        two.wait_ready()
        follow(arena, "seen")
    found = spans(arena.folder / "spans")
    [start] = [span for span in found if span["name"] == "start traced"]
    tries = [span for span in found if span["name"].startswith("traced.")]

    assert {span["context"]["trace_id"] for span in found} == {start["context"]["trace_id"]}
    assert {span["parent_id"] for span in tries} == {start["context"]["span_id"]}
    assert [
        (span["name"], *told(span, "run_id", "attempt", "outcome", "recovered_from"))
        for span in tries
    ] == [
        ("traced.nest", "seen", 1, "committed", None),
        ("traced.die", "seen", 2, "committed", "child"),
        ("traced.stumble", "seen", 1, "retried", None),
        ("traced.stumble", "seen", 2, "committed", None),
        ("traced.end", "seen", 1, "committed", None),
    ]
    [own] = [span for span in found if span["name"] == "own work"]
    assert own["parent_id"] == tries[0]["context"]["span_id"]
    assert own["pid"] == tries[0]["pid"]
    assert [span["attributes"]["milepost.worker"].rpartition(":")[2] for span in tries] == [
        str(span["pid"]) for span in tries
    ]
    failed, retried = tries[2:4]
    assert [link["context"]["span_id"] for link in retried["links"]] == [
        failed["context"]["span_id"]
    ]
    assert failed["status"]["status_code"] == "ERROR"
    [event] = failed["events"]
    assert event["attributes"]["exception.type"] == "ValueError"
    assert event["attributes"]["exception.message"] == "stumbled over redis://user:***@host/0"
    assert not [span for span in tries if span is not retried and span["links"]]


def test_who_traces_nothing_pays_nothing(arena: Arena) -> None:
    """No span, and no field in the head."""
    with arena.worker() as worker, arena.app() as app:
        worker.wait_ready()
        run = app.start("relay", Trail())
        assert run.wait(30).state == Trail(done=[*STAGES])
        assert run.head.trace == ""
        [key] = arena.runs.keys(f"*run:{run.id}")
        assert b"trace" not in arena.runs.hgetall(key)
