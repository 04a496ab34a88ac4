"""Clocks that are wrong, or jump in the middle of a stage."""

from __future__ import annotations

import pytest

from milepost.tasks import RunStatus

from .activity import Activity
from .calm import come_to_rest
from .process import SimulatedProcess
from .world import World

HOUR = 3600
POINTS = ("received", "claimed", "loaded", "ran", "saved", "advanced", "published", "noted")


def begin(world: World, worker: SimulatedProcess, until: str) -> Activity:
    """Let *worker* take the first stage, up to a point, if it comes by that."""
    task = world.deliver(0, worker)
    while task.at != until and not task.is_done:
        world.step(task)
    return task


def ran(world: World) -> list[str]:
    """The stages whose bodies were begun."""
    return [execution.place.stage for execution in world.witness.executions]


@pytest.mark.fault("F52")
@pytest.mark.parametrize("jump", [-HOUR, HOUR, 10 * 365 * 24 * HOUR])
@pytest.mark.parametrize("since", POINTS)
def test_a_workers_clock_jumps(world: World, since: str, jump: int) -> None:
    """It is an hour wrong before: what is its own, it counts by what nobody sets; all else by the store's."""
    worker = world.hire(skew_seconds=-HOUR)
    world.hire(skew_seconds=HOUR)
    begin(world, worker, since)
    worker.skew_seconds += jump
    world.finish(world.look(world.guardians[0]))
    world.pass_time(1000)
    world.finish(world.look(world.guardians[1]))
    come_to_rest(world)

    head = world.heads()["r0"]
    assert (head.status, head.crashes, head.suspicions) == (RunStatus.COMPLETED, 0, 0)
    assert ran(world) == ["a", "b", "c", "d"]
    assert world.clock.ms < 1_700_000_000_000 + 60_000, "nobody waits for a wrong clock"


@pytest.mark.fault("F52")
@pytest.mark.parametrize("jump", [-HOUR, HOUR])
@pytest.mark.parametrize("since", POINTS)
def test_a_clock_that_jumps_while_its_worker_sleeps(world: World, since: str, jump: int) -> None:
    """Whoever wakes knows for how long it was silent; that it writes nothing then, the witness sees."""
    worker = world.hire()
    task = begin(world, worker, since)
    worker.is_frozen = True
    world.pass_time(10_000)
    worker.skew_seconds += jump
    for _ in range(2):
        world.finish(world.look(world.guardians[0]))
        world.pass_time(3000)
    if world.queue.messages:
        other = begin(world, world.hire(), "ran")
        worker.is_frozen = False
        world.finish(task)
        world.finish(other)
    come_to_rest(world)

    assert (world.heads()["r0"].status, world.heads()["r0"].stages_done) == (RunStatus.COMPLETED, 4)
    again = ["a"] if since in ("claimed", "loaded", "ran") else []
    assert sorted(ran(world)) == [*again, *"abcd"]


@pytest.mark.fault("F53")
@pytest.mark.parametrize("jump_ms", [-HOUR * 1000, -3000, 5000, HOUR * 1000])
@pytest.mark.parametrize("since", POINTS)
def test_the_stores_clock_jumps(world: World, since: str, jump_ms: int) -> None:
    """Claims end early or late. Who has lost one writes nothing, which the witness sees to."""
    worker = world.hire()
    task = begin(world, worker, since)
    world.clock.store_offset_ms += jump_ms
    for _ in range(2):
        world.finish(world.look(world.guardians[0]))
        other = world.hire()
        if world.queue.messages:
            world.finish(world.deliver(0, other))
        world.pass_time(1000)
    world.finish(task)
    come_to_rest(world)

    head = world.heads()["r0"]
    assert (head.status, head.stages_done) == (RunStatus.COMPLETED, 4)
    early = ["a"] if since in ("claimed", "loaded", "ran", "saved") else []
    assert sorted(ran(world)) in ([*"abcd"], [*early, *"abcd"])
