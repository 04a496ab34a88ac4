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
WAYS = [
    "group",
    pytest.param("child", marks=pytest.mark.fault("F18")),
    pytest.param("SIGTERM", marks=pytest.mark.fault("F21")),
    pytest.param("SIGQUIT", marks=pytest.mark.fault("F22")),
]
ONE_REDIS = [
    pytest.param("received", marks=pytest.mark.fault("F3")),
    pytest.param("claimed", marks=pytest.mark.fault("F4", "F6")),
    pytest.param("loaded", marks=pytest.mark.fault("F5", "F6")),
    pytest.param("inside", marks=pytest.mark.fault("F7")),
    pytest.param("ran", marks=pytest.mark.fault("F8")),
    pytest.param("advanced", marks=pytest.mark.fault("F13")),
]
SPLIT = [
    pytest.param("saved", marks=pytest.mark.fault("F11", "F42")),
    pytest.param("published", marks=pytest.mark.fault("F12")),
    pytest.param("noted", marks=pytest.mark.fault("F13")),
]
AT_THE_END = [
    pytest.param("arena", "advanced", marks=pytest.mark.fault("F15")),
    pytest.param("split_arena", "saved", marks=pytest.mark.fault("F15")),
]
# Where the stage's body has begun and its commit is not made, it has to run again.
REPEATED = ("inside", "ran")
KILLED = ("group", "child")


def test_every_point_is_in_the_matrix() -> None:
    points = {point.values[0] for point in (*ONE_REDIS, *SPLIT)}
    assert points - {"inside"} == {*POINTS}


@pytest.mark.parametrize("point", ONE_REDIS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("pool", get_args(Pool))
def test_the_run_survives(arena: Arena, rescuer: Rescuer, pool: Pool, way: Way, point: str) -> None:
    survive(arena, rescuer, pool, way, point)


@pytest.mark.parametrize("point", SPLIT)
@pytest.mark.parametrize("way", KILLED)
def test_the_run_survives_between_stores(
    split_arena: Arena, split_rescuer: Rescuer, way: Way, point: str
) -> None:
    survive(split_arena, split_rescuer, "prefork", way, point)


@pytest.mark.fault("F13")
@pytest.mark.parametrize("point", ["claimed", "inside", "advanced"])
@pytest.mark.parametrize("way", get_args(Way))
def test_the_run_survives_in_a_burst(arena: Arena, rescuer: Rescuer, way: Way, point: str) -> None:
    """No message brought the stage that is struck: it was claimed when the one before was committed."""
    survive(arena, rescuer, "prefork", way, point, TEST_BURST="1m")


@pytest.mark.fault("F11")
@pytest.mark.parametrize("way", KILLED)
def test_the_run_survives_in_a_burst_between_stores(
    split_arena: Arena, split_rescuer: Rescuer, way: Way
) -> None:
    survive(split_arena, split_rescuer, "prefork", way, "saved", TEST_BURST="1m")


@pytest.mark.parametrize(("where", "point"), AT_THE_END)
@pytest.mark.parametrize("way", KILLED)
def test_the_run_is_at_its_end(
    request: pytest.FixtureRequest, where: str, way: Way, point: str
) -> None:
    """Behind the last commit there is nothing more to do, and it is done once."""
    arena: Arena = request.getfixturevalue(where)
    rescuer: Rescuer = request.getfixturevalue(where.replace("arena", "rescuer"))
    survive(arena, rescuer, "prefork", way, point, stage="fourth")


def survive(
    arena: Arena,
    rescuer: Rescuer,
    pool: Pool,
    way: Way,
    point: str,
    stage: str = "second",
    **env: str,
) -> None:
    queue = f"victim-{pool}-{way}-{point}-{stage}-{len(env)}"
    trap = arena.trap(point, stage)
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
        if way in KILLED:
            counted = point in ("claimed", "loaded", *REPEATED)
            last = [e.attempt for e in arena.ledger.entries(run.id) if e.stage == stage][-1]
            assert last == 1 + counted, "tries are counted where the run is claimed"
