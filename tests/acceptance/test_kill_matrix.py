"""A worker is ended in every way, on every pool, at every point of a step: the run does not notice."""

from __future__ import annotations

import signal
from typing import Literal, get_args

import pytest

from acceptance.arena import Arena, Rescuer
from acceptance.pipelines import STAGES, Trail
from milepost.tasks.faultpoints import POINTS
from support.processes import Pool

Way = Literal["group", "child", "SIGTERM", "SIGQUIT"]
ONE_REDIS = ("received", "claimed", "loaded", "inside", "ran", "advanced")
SPLIT = ("saved", "published", "noted")
# Where the stage's body has begun and its commit is not made, it has to run again.
REPEATED = ("inside", "ran")


def test_every_point_is_in_the_matrix() -> None:
    assert {*ONE_REDIS, *SPLIT} - {"inside"} == {*POINTS}


@pytest.mark.parametrize("point", ONE_REDIS)
@pytest.mark.parametrize("way", get_args(Way))
@pytest.mark.parametrize("pool", get_args(Pool))
def test_the_run_survives(arena: Arena, rescuer: Rescuer, pool: Pool, way: Way, point: str) -> None:
    survive(arena, rescuer, pool, way, point)


@pytest.mark.parametrize("point", SPLIT)
@pytest.mark.parametrize("way", ["group", "child"])
def test_the_run_survives_between_stores(
    split_arena: Arena, split_rescuer: Rescuer, way: Way, point: str
) -> None:
    survive(split_arena, split_rescuer, "prefork", way, point)


@pytest.mark.parametrize("point", ["claimed", "inside", "advanced"])
@pytest.mark.parametrize("way", get_args(Way))
def test_the_run_survives_in_a_burst(arena: Arena, rescuer: Rescuer, way: Way, point: str) -> None:
    """No message brought the stage that is struck: it was claimed when the one before was committed."""
    survive(arena, rescuer, "prefork", way, point, TEST_BURST="1m")


@pytest.mark.parametrize("way", ["group", "child"])
def test_the_run_survives_in_a_burst_between_stores(
    split_arena: Arena, split_rescuer: Rescuer, way: Way
) -> None:
    survive(split_arena, split_rescuer, "prefork", way, "saved", TEST_BURST="1m")


def survive(arena: Arena, rescuer: Rescuer, pool: Pool, way: Way, point: str, **env: str) -> None:
    queue = f"victim-{pool}-{way}-{point}-{len(env)}"
    trap = arena.trap(point)
    with (
        arena.app(queue) as app,
        arena.worker(pool, env={"TEST_QUEUE": queue, **trap.env, **env}) as victim,
    ):
        victim.wait_ready()
        run = app.start("relay", Trail())
        pid = trap.wait_reached()
        assert (pid in victim.children) if pool == "prefork" else (pid == victim.pid)
        match way:
            case "group":
                victim.kill_group()
            case "child":
                victim.signal_pid(pid, signal.SIGKILL)
            case "SIGTERM":
                victim.terminate()
                victim.wait_for_log("Warm shutdown")
                trap.release()
                assert victim.wait_exit() == 0
            case "SIGQUIT":
                victim.quit()
                victim.wait_exit()
        rescuer.take_over(app, queue)
        run.wait(15)
        arena.checker(app).judge(
            run,
            state=Trail(done=[*STAGES]),
            stages=STAGES,
            executions={"second": 2} if point in REPEATED and way != "SIGTERM" else {},
            queues=("milepost", queue),
        )
