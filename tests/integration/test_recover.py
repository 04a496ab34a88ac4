"""The run store is lost; what the checkpoint store knows is enough to go on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from integration.recovery_site import STAGES, Site
from milepost.checkpointing import CheckpointKey, Record
from milepost.checkpointing.ids import new_checkpoint_id
from milepost.tasks import InputMismatch, RunStatus
from milepost.tasks.runs import Advance, Bid, Claim, Commit
from milepost.tasks.setbacks import StageFailed
from support.s3_server import SeaweedServer, store_url


@pytest.fixture(params=["s3", "file", "sqlite", "postgres"])
def site(
    request: pytest.FixtureRequest, redis_url: str, seaweed_server: SeaweedServer, tmp_path: Path
) -> Iterator[Site]:
    logs: dict[str, Callable[[], str]] = {
        "s3": lambda: store_url(seaweed_server.endpoint, uuid4().hex),
        "file": lambda: f"file://{tmp_path}/log",
        "sqlite": lambda: f"sqlite:///{tmp_path}/log.db",
        "postgres": lambda: request.getfixturevalue("postgres_url"),
    }
    there = Site(redis_url, logs[request.param]())
    yield there
    there.close()


@pytest.fixture
def files(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    there = Site(redis_url, f"file://{tmp_path}/log")
    yield there
    there.close()


@pytest.mark.fault("F25", "F29")
def test_unfinished_runs_go_on_and_others_stay_as_they_were(site: Site) -> None:
    fresh = site.begun("fresh", 0)
    half = site.begun("half", 2)
    done = site.finish(site.begun("done"))
    failed = site.begun("failed", 1, fails="b")
    with pytest.raises(StageFailed):
        site.step(failed)
    paused = site.begun("paused", 1)
    paused.pause()
    cancelled = site.begun("cancelled", 1)
    cancelled.cancel()
    deleted = site.finish(site.begun("deleted"))
    deleted.delete()
    site.reconcile()
    before = {run.id: run.head for run in (half, done, failed)}
    site.lose_runs()
    site.ran.clear()

    expected = {
        "fresh": RunStatus.QUEUED,
        "half": RunStatus.QUEUED,
        "done": RunStatus.COMPLETED,
        "failed": RunStatus.FAILED,
        "paused": RunStatus.PAUSED,
        "cancelled": RunStatus.CANCELLED,
    }
    assert site.recover(dry_run=True) == expected
    assert site.app.runs.find().items == ()
    assert site.recover() == expected
    assert site.recover() == dict.fromkeys(expected)

    assert half.head.token > before["half"].token
    assert half.head.digest == before["half"].digest
    assert (half.progress, half.head.tags) == ((2, 4), ("red",))
    assert half.spent.useful["usd"] == 1.0
    assert failed.head.failure is not None
    assert failed.head.failure["message"] == "b is broken"
    assert done.state == dict.fromkeys(STAGES, 1)
    assert site.app.start("line", {}, run_id="half", tags=("red",)).id == "half"
    with pytest.raises(InputMismatch):
        site.app.start("line", {"other": 1}, run_id="half")

    assert site.finish(half).state == dict.fromkeys(STAGES, 1)
    assert site.ran == ["c", "d"]
    assert site.finish(fresh).status is RunStatus.COMPLETED
    paused.resume()
    assert site.finish(paused).status is RunStatus.COMPLETED
    failed.retry()
    with pytest.raises(StageFailed):
        site.step(failed)


@pytest.mark.fault("F29")
def test_what_old_holders_write_is_not_taken(files: Site) -> None:
    """A worker that saw nothing of the loss ends its stage: its claim is worth nothing, nor is its body."""
    run = files.begun("run", 1)
    runs = files.app.runs
    bid = Bid("old-owner", "old-nonce", 1, "host:1")
    claim = runs.claim(run.head.step, bid)
    assert isinstance(claim, Claim)
    files.lose_runs()
    files.recover()
    late = CheckpointKey("run", 2, claim.head.timeline)
    log, serializer = files.app.checkpoints.store, files.app.checkpoints.serializer
    stands = serializer.decode(log.get(claim.head.key))
    metadata = stands.metadata.model_copy(
        update={
            "sequence": 2,
            "parent": claim.head.checkpoint_id,
            "stage": "b",
            "checkpoint_id": new_checkpoint_id(),
        }
    )
    record: Record = serializer.encode(stands.model_copy(update={"metadata": metadata}))
    assert record.key == late
    log.put(record)
    commit = Commit(metadata.checkpoint_id, late.path, 2, late.timeline)
    assert runs.advance(claim, commit) is Advance.FENCED
    files.ran.clear()
    assert files.finish(run).state == dict.fromkeys(STAGES, 1)
    assert files.ran == ["b", "c", "d"]


def test_damage_and_unknown_pipelines_are_said(files: Site) -> None:
    run = files.begun("run", 1)
    files.begun("other", 1)
    log = files.app.checkpoints.store
    record = log.get(run.head.key)
    log.delete(record.key)
    log.put(Record(record.key, record.header, b"x" + record.body[1:]))
    files.lose_runs()
    del files.app.versions["line"]
    found = {each.run_id: each.reason for each in files.app.runtime.rebuilder.rebuild()}
    assert "checksum" in found["run"]
    assert found["other"] == "no pipeline line is defined here"
    files.app.checkpoints.create("manual", {"a": 1})
    found = {each.run_id: each.reason for each in files.app.runtime.rebuilder.rebuild()}
    assert "no pipeline made it" in found["manual"]


MODULE = """
from milepost.tasks import Milepost

app = Milepost()
line = app.pipeline("line")
for name in "abcd":
    line.stage(name=name)(lambda state, name=name: {**state, name: 1})
"""


def test_the_command(files: Site, tmp_path: Path) -> None:
    files.begun("half", 2)
    files.finish(files.begun("done"))
    files.lose_runs()
    (tmp_path / "pipelines_of_site.py").write_text(MODULE)
    env = {**os.environ, "MILEPOST_URL": files.url, "MILEPOST_CHECKPOINTS": files.log}

    def recover(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "milepost.control.cli", "recover", *words]
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
        )

    tried = recover("-A", "pipelines_of_site", "--dry-run")
    assert tried.returncode == 0, tried.stderr
    assert "1 completed, 1 queued (would be rebuilt in that status)" in tried.stdout
    assert files.app.runs.find().items == ()
    done = recover("-A", "pipelines_of_site", "--json")
    assert done.returncode == 0, done.stderr
    assert '"run_id": "half", "outcome": "queued"' in done.stdout
    assert "2 known" in recover("-A", "pipelines_of_site").stdout
    nameless = recover()
    assert nameless.returncode == 2
    assert "-A MODULE" in nameless.stderr
    files.app.checkpoints.create("manual", {"a": 1})
    assert recover("-A", "pipelines_of_site").returncode == 1
