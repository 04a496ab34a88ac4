"""A deploy from worker to worker: old code and new at work on the same runs, none of them run wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from acceptance.arena import Arena
from acceptance.deploy_app import build
from milepost.tasks import RunStatus
from support.processes import Worker
from support.waiting import eventually


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    with Arena(tmp_path) as arena:
        yield arena


def worker(arena: Arena, code: str) -> Worker:
    env = {**arena.env, "CODE": code}
    return Worker("acceptance.deploy_app", arena.folder, env, concurrency=2, name=f"code{code}")


@pytest.mark.fault("F68")
def test_runs_of_both_codes_come_to_their_ends(arena: Arena) -> None:
    url = arena.env["MILEPOST_URL"]
    with closing(build(url, "1")) as before, closing(build(url, "2")) as after:
        with worker(arena, "1") as old:
            old.wait_ready()
            newer = after.start("line", {})
            eventually(lambda: newer.status is RunStatus.SCHEDULED, 20, "it is left to others")
            assert newer.head.failure is not None
            assert newer.head.failure["type"] == "VersionAhead"
            with worker(arena, "2") as new:
                new.wait_ready()
                runs = [app.start("line", {}) for _ in range(10) for app in (before, after)]
                for run in [newer, *runs]:
                    run.wait(60)
        for run in [newer, *runs[1::2]]:
            assert run.state["done"] == ["a2", "bee2", "d2", "c2"]
        for run in runs[::2]:
            done = run.state["done"]
            code = [stage[-1] for stage in done]
            assert code == sorted(code), "no old worker goes on where a new one was"
            names = [stage[:-1].replace("bee", "b") for stage in done]
            inserted = ["d"] if code[1] == "2" else []
            assert names == ["a", "b", *inserted, "c"]
        assert before.runs.aside() == []
