"""What the run store alone knows is told to the log, and comes back from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from integration.recovery_site import Site
from milepost.checkpointing import Kind, Record, Unavailable
from milepost.tasks import Conflict, Context, RunStatus
from milepost.tasks.runs import Bid
from milepost.tasks.setbacks import StageFailed
from support.waiting import eventually


@pytest.fixture
def files(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    there = Site(redis_url, f"file://{tmp_path}/log")
    yield there
    there.close()


def test_a_dead_letter_by_crashes_is_told_to_the_log(files: Site) -> None:
    run = files.begun("run", 1)
    files.app.runs.claim(run.head.step, Bid("ann", "n1", 1, "host:1"))
    files.app.runs.bury("ann", "child")
    assert run.status is RunStatus.FAILED
    files.reconcile()
    assert run.head.marked == "failed"
    files.lose_runs()
    assert files.recover() == {"run": RunStatus.FAILED}
    assert (run.head.failure or {})["type"] == "WorkerLost"


def test_what_was_resumed_goes_on(files: Site) -> None:
    run = files.begun("run", 1)
    for _ in range(3):
        run.pause()
        files.reconcile()
        assert run.head.marked == "paused"
        run.resume()
    files.lose_runs()
    assert files.recover() == {"run": RunStatus.QUEUED}
    run.pause()
    run.resume()
    run.pause()
    files.reconcile()
    files.lose_runs()
    assert files.recover() == {"run": RunStatus.PAUSED}
    run.resume()
    files.step(run)
    files.lose_runs()
    assert files.recover() == {"run": RunStatus.QUEUED}
    assert files.finish(run).status is RunStatus.COMPLETED


def test_a_pause_that_only_an_edit_has_told_is_taken_back(files: Site) -> None:
    """The checkpoint of the edit says that the run is paused; nobody has written a marker yet."""
    paused, failed = files.begun("paused", 1), files.begun("failed", 1, fails="b")
    paused.pause()
    with pytest.raises(StageFailed):
        files.step(failed)
    for run, go in ((paused, paused.resume), (failed, failed.retry)):
        run.edit(patch={"fails": ""})
        go()
    files.lose_runs()
    assert files.recover() == {"paused": RunStatus.QUEUED, "failed": RunStatus.QUEUED}
    assert files.finish(paused).status is RunStatus.COMPLETED


def test_a_pause_that_was_taken_back_while_it_was_told(
    files: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = files.begun("run", 1)
    run.pause()
    put = files.app.checkpoints.store.put
    told: list[str] = []

    def resumed_meanwhile(record: Record) -> None:
        if record.key.kind is Kind.MARKER and not told:
            told.append("once")
            run.resume()
        put(record)

    monkeypatch.setattr(files.app.checkpoints.store, "put", resumed_meanwhile)
    files.reconcile()
    assert told
    files.lose_runs()
    assert files.recover() == {"run": RunStatus.QUEUED}


@pytest.mark.fault("F16")
def test_a_deletion_that_died_halfway_is_no_unfinished_run(
    files: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = files.finish(files.begun("run"))

    def die(run_id: str) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.app.checkpoints.store, "delete_run", die)
    with pytest.raises(KeyboardInterrupt):
        run.delete()
    files.lose_runs()
    assert files.recover() == {}


def test_a_run_that_is_to_begin_later_does(files: Site) -> None:
    files.app.start("line", {}, run_id="later", delay="1d")
    files.lose_runs()
    assert files.recover() == {"later": RunStatus.SCHEDULED}
    files.reconcile()
    assert files.app.run("later").status is RunStatus.SCHEDULED


def test_what_was_granted_is_told_at_once(files: Site) -> None:
    """A commit may be far off."""
    files.app.start("line", {}, run_id="run", budget={"usd": 10})
    run = files.app.run("run")
    files.step(run)
    run.top_up(usd=5)
    budget = run.head.budget
    files.lose_runs()
    files.recover()
    assert run.head.budget == budget


def test_what_was_spent_and_granted_is_known(files: Site) -> None:
    files.app.start("line", {"fails": "b"}, run_id="run", budget={"usd": 10, "attempts": 9})
    run = files.app.run("run")
    files.step(run)
    for _ in range(2):
        with pytest.raises(StageFailed):
            files.step(run)
        run.retry()
    run.pause()
    run.top_up(usd=5)
    files.reconcile()
    before = run.head
    files.lose_runs()
    assert files.recover() == {"run": RunStatus.PAUSED}
    after = run.head
    for name in ("budget", "tries", "spent", "plan", "fingerprint"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.timeline > before.timeline


def test_a_stage_saves_its_progress_after_every_recovery(files: Site) -> None:
    """Tokens begin anew alike; what it saves must not stand in its own way."""
    line = files.app.pipeline("saving")
    ends: list[bool] = []

    @line.stage
    def work(state: dict[str, Any], ctx: Context) -> dict[str, Any]:
        ctx.save({"done": 1})
        ctx.save({"done": 2})
        if not ends:
            ctx.hand_back()
        return state

    run = files.app.start("saving", {}, run_id="run")
    for _ in range(3):
        assert files.app.runtime.engine.execute("saving", run.head.step) == "handed back"
        files.lose_runs()
        files.recover()
    ends.append(True)
    assert files.app.runtime.engine.execute("saving", run.head.step) == "completed"


def test_the_version_that_is_still_there_says_how_stages_run(files: Site) -> None:
    first = files.app.pipeline("paths")
    first.stage(name="a", queue="heavy", timeout="1h")(lambda state: state)
    run = files.app.start("paths", {}, run_id="run")
    files.app.pipeline("paths", version="2").stage(name="a", queue="quick")(lambda state: state)
    before = run.head
    files.lose_runs()
    files.recover()
    assert (run.head.queue, run.head.time_limit_ms) == (before.queue, before.time_limit_ms)


def test_a_resumption_that_came_to_nothing_is_no_resumption(
    files: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = files.begun("run", 1)
    run.pause()
    files.reconcile()
    assert run.head.marked == "paused"
    with monkeypatch.context() as patch:
        patch.setattr(files.app.runs, "resume", lambda *_, **__: False)
        with pytest.raises(Conflict):
            run.resume()
    assert (run.status, run.head.marked) == (RunStatus.PAUSED, "")

    def told_again() -> bool:
        files.reconcile()
        return run.head.marked == "paused"

    eventually(told_again, 20, "the log is told again")
    files.lose_runs()
    assert files.recover() == {"run": RunStatus.PAUSED}


def test_a_marker_that_a_commit_has_overtaken_is_stale(
    files: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who told the log died before it could note that; the run was resumed, and went on."""
    run = files.begun("run", 1)
    run.pause()

    def die(head: Any) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files.app.runs, "mark", die)
        with pytest.raises(KeyboardInterrupt):
            files.reconcile()
    assert run.head.marked == ""
    run.resume()
    files.step(run)
    files.lose_runs()
    assert files.recover() == {"run": RunStatus.QUEUED}


def test_a_log_that_is_away_keeps_no_other_run_waiting(
    files: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    resting, moving = files.begun("resting", 1), files.begun("moving", 1)
    resting.pause()

    def away(record: Record) -> None:
        raise Unavailable("away")

    with redis.Redis.from_url(files.url) as client:
        client.delete("milepost")
    monkeypatch.setattr(files.app.checkpoints.store, "put", away)
    eventually(lambda: files.app.runtime.reconciler.look() >= 1, 20, "the message is made again")
    assert moving.status is RunStatus.QUEUED
