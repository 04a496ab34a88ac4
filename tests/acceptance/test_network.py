"""The network between workers, run store and broker: slow, half open, or cut on one side alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance.arena import Arena, Rescuer
from acceptance.pipelines import STAGES, Trail
from support.tcp_proxy import TcpProxy
from support.waiting import eventually

DONE = Trail(done=[*STAGES])
QUEUES = ("milepost", "victim")


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    """Runs, messages and checkpoints are in three places; stores are not waited for long."""
    env = {
        "MILEPOST_CHECKPOINTS": f"file://{tmp_path}/log",
        "MILEPOST_STORE_TIMEOUT_SECONDS": "0.5",
        "MILEPOST_STORE_RETRIES": "0",
    }
    with Arena(tmp_path, split=True, env=env) as arena:
        yield arena


@pytest.fixture
def proxy(arena: Arena) -> Iterator[TcpProxy]:
    """In the way to the run store, or to the broker: both are in one server."""
    with TcpProxy(arena.server.port) as proxy:
        yield proxy


def way_to_runs(arena: Arena, proxy: TcpProxy) -> dict[str, str]:
    return {"MILEPOST_RUNS": proxy.url(arena.env["MILEPOST_RUNS"])}


def way_to_broker(arena: Arena, proxy: TcpProxy) -> dict[str, str]:
    return {"MILEPOST_URL": proxy.url(arena.env["MILEPOST_URL"])}


@pytest.mark.fault("F31")
@pytest.mark.parametrize("way", ["late", "half-open"])
def test_a_run_store_that_does_not_answer_in_time(arena: Arena, proxy: TcpProxy, way: str) -> None:
    """The finished stage waits with its commit, and the run goes on when it is over."""
    trap = arena.trap("inside")
    with (
        arena.app() as app,
        arena.worker(env={**way_to_runs(arena, proxy), **trap.env}) as worker,
    ):
        worker.wait_ready()
        run = app.start("relay", Trail())
        trap.wait_reached()
        if way == "late":
            proxy.delay(1.0)
        else:
            proxy.hold()
        trap.release()
        worker.wait_for_log("Trying again in")
        worker.wait_for_log("Heartbeat failed")
        proxy.pass_on()
        # Its claim may have lapsed meanwhile.
        arena.checker(app).judge(
            run, state=DONE, stages=STAGES, executions={"second": {1, 2}}, deadline_s=30
        )
        assert worker.exit_code is None


@pytest.mark.fault("F32")
def test_a_worker_that_is_cut_from_the_run_store(arena: Arena, proxy: TcpProxy) -> None:
    """It knows by its own clock that its claims are lost, before another worker is given them."""
    cut_off, in_its_place = arena.trap("inside"), arena.trap("inside")
    env = {**way_to_runs(arena, proxy), "TEST_QUEUE": "victim", **cut_off.env}
    with (
        arena.app("victim") as app,
        arena.worker(concurrency=2, env=env) as victim,
        arena.worker("threads", 2, env=in_its_place.env) as worker,
    ):
        victim.wait_ready()
        worker.wait_ready()
        watching = app.start("watching", Trail())
        relay = app.start("relay", Trail())
        eventually(lambda: arena.ledger.entries(watching.id), 15, "the stage begun")
        cut_off.wait_reached()
        Rescuer(worker).take_over(app, "victim")

        proxy.hold()

        watching.wait(20)
        noted = arena.ledger.entries(watching.id)
        assert [effect.stage for effect in noted] == ["watch", "lost", "watch"]
        victim.wait_for_log("Stopped: the claim on stage watch is gone.")
        in_its_place.wait_reached(20)
        cut_off.release()
        victim.wait_for_log("Trying again in")
        assert [found.stage for found in relay.checkpoints()] == ["first", None]
        in_its_place.release()
        relay.wait(20)
        stands = relay.checkpoints()
        proxy.pass_on()
        victim.wait_for_log("Stopped: the claim on stage second is gone.")

        assert relay.checkpoints() == stands
        arena.checker(app).judge(
            relay, state=DONE, stages=STAGES, executions={"second": 2}, queues=QUEUES
        )
        assert watching.state == Trail(done=["watch"])
        assert watching.head.sequence == 1


@pytest.mark.fault("F32")
def test_a_worker_that_is_cut_from_the_broker(arena: Arena, proxy: TcpProxy) -> None:
    """Its claim stands, and what it has done is committed once; another worker is told to go on."""
    trap = arena.trap("inside")
    env = {**way_to_broker(arena, proxy), "TEST_QUEUE": "victim", **trap.env}
    with (
        arena.app("victim") as app,
        arena.worker(env=env) as victim,
        arena.worker("threads") as worker,
    ):
        victim.wait_ready()
        worker.wait_ready()
        run = app.start("relay", Trail())
        trap.wait_reached()
        Rescuer(worker).take_over(app, "victim")

        proxy.hold()

        trap.release()
        run.wait(20)
        proxy.pass_on()
        arena.checker(app).judge(
            run, state=DONE, stages=STAGES, executions={}, queues=QUEUES, deadline_s=40
        )
