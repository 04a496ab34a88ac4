"""The run store forgets what it has acknowledged: it went back, or another took its place too early."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from acceptance.arena import Arena
from acceptance.pipelines import STAGES, Trail
from milepost.tasks import Milepost, Run, TaskSettings
from milepost.tasks.runs import Advance, Claim
from milepost.tasks.runs.redis import RedisRunStore
from milepost.tasks.testing.case import claimed, commit_of
from support.checker import Checker
from support.redis_server import RedisServer
from support.status_page import StatusPage
from support.tcp_proxy import TcpProxy
from support.waiting import eventually

DONE = Trail(done=[*STAGES])
AT_ONCE = ("--repl-diskless-sync-delay", "0")
REFUSED = ("the result of stage third was refused", "the claim on stage third is gone")
LOGS = ["in the run store", "elsewhere"]


@pytest.fixture
def store() -> Iterator[RedisServer]:
    """Where runs are kept: another server than the broker."""
    with RedisServer(*AT_ONCE) as server:
        yield server


@pytest.fixture
def replica(store: RedisServer) -> Iterator[RedisServer]:
    with RedisServer(*AT_ONCE, "--replicaof", "127.0.0.1", str(store.port)) as server:
        yield server


def opened(folder: Path, runs: str, log: str) -> Arena:
    """An arena whose checkpoints are with the runs, or outlive what happens to those."""
    elsewhere = {"MILEPOST_CHECKPOINTS": f"file://{folder}/log"} if log == "elsewhere" else {}
    return Arena(folder, env={"MILEPOST_RUNS": runs, **elsewhere})


def judge(
    arena: Arena, app: Milepost, run: Run, server: RedisServer, log: str, **again: set[int]
) -> None:
    """With its log elsewhere, a run has lost nothing but what *again* allows for."""
    run.wait(30)
    assert run.state == DONE
    if log == "elsewhere":
        with redis.Redis.from_url(server.url) as runs:
            Checker(app, arena.ledger, runs, arena.broker).judge(
                run, state=DONE, stages=STAGES, executions=again
            )


def ran(arena: Arena, run: Run) -> list[str]:
    return [effect.stage for effect in arena.ledger.entries(run.id)]


@pytest.mark.fault("F26")
@pytest.mark.parametrize("log", LOGS)
def test_the_run_store_goes_back(tmp_path: Path, store: RedisServer, log: str) -> None:
    """Behind two commits. The message of the third stage tells, and so does a log that was not there."""
    with (
        opened(tmp_path, store.url, log) as arena,
        arena.app() as app,
        closing(RedisRunStore(store.url)) as runs,
    ):
        run = app.start("relay", Trail())
        store.snapshot()
        # A try that came to nothing: tokens rise by it, and it leaves nothing in the log.
        assert runs.hand_back(claimed(runs, run.head), None)
        trap = arena.trap("published", "third", action="kill")
        with arena.worker("solo", env=trap.env) as worker:
            worker.wait_exit(30)
        seen = run.head
        assert (seen.stage, run.progress) == ("third", (2, 4))

        store.rewind()

        assert run.progress == (0, 4)
        # What the killed worker had taken comes back after the visibility timeout, in an hour.
        arena.broker.delete("unacked", "unacked_index")
        page = StatusPage()
        with arena.worker(env={**page.env, "TMPDIR": str(tmp_path)}) as worker:
            worker.wait_for_log("a message names checkpoint 2 of timeline 0")
            judge(arena, app, run, store, log)
            eventually(lambda: page.value("milepost_messages_ahead_total") == 1)
        if log == "elsewhere":
            third = next(found for found in run.checkpoints() if found.stage == "third")
            assert third.token > seen.token
        else:
            assert ran(arena, run) == ["first", "second", *STAGES]


@pytest.mark.fault("F27")
@pytest.mark.parametrize("log", LOGS)
def test_a_replica_is_promoted_too_early(
    tmp_path: Path, store: RedisServer, replica: RedisServer, log: str
) -> None:
    """The old primary goes on acknowledging what the new one never hears of."""
    with (
        TcpProxy(store.port) as proxy,
        opened(tmp_path, proxy.url(store.url), log) as arena,
        arena.app() as app,
        closing(RedisRunStore(store.url)) as old,
        closing(RedisRunStore(replica.url, TaskSettings(heartbeat_lapse_seconds=60))) as new,
    ):
        run = app.start("relay", Trail())
        eventually(lambda: new.get(run.id) == run.head, what="the replica has the run")
        new.client.replicaof("NO", "ONE")
        trap = arena.trap("inside", "third")
        with arena.worker(env=trap.env) as worker:
            trap.wait_reached(30)
            seen = run.head
            assert run.progress == (2, 4)

            proxy.retarget(replica.port)
            proxy.reset()

            late = Claim(seen, seen.nonce)
            assert old.advance(late, commit_of(late, "fourth")) is Advance.ADVANCED
            assert run.progress == (0, 4)
            # Who holds it on the new one has the very token, and another nonce.
            while (held := claimed(new, run.head)).token < seen.token:
                assert new.hand_back(held, None)
            trap.release()
            eventually(lambda: any(end in worker.text() for end in REFUSED), 15, worker.text)
            assert (run.head.token, run.head.nonce) == (seen.token, held.nonce)
            assert new.bury(held.head.owner, "leaving") == [run.id]
            # Where nobody had told the worker yet, its checkpoint came in time, and is adopted.
            judge(arena, app, run, replica, log, third={1, 2})
            if log != "elsewhere":
                assert ran(arena, run) == ["first", "second", "third", *STAGES]
            old.client.replicaof("127.0.0.1", str(replica.port))
            eventually(lambda: old.get(run.id) == run.head, what="the old primary's writes gone")
