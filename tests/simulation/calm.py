"""The end of a schedule: no fault happens any more, time passes, and everything has to come to rest."""

from __future__ import annotations

from typing import Any

from milepost.tasks import RunStatus
from milepost.tasks.head import AT_REST

from .checker import Checker
from .world import World

_BOUND_SECONDS = 7200
_ENOUGH = 20_000


def come_to_rest(world: World, *, resume: bool = True) -> None:
    """Let all faults stop and the world come to rest, and judge it.

    Raises:
        Broken: Something does not hold.
    """
    world.weather.clear()
    world.fates.clear()
    for worker in [*world.workers, *world.guardians, *world.operators.clients]:
        worker.cut.clear()
        worker.is_frozen = False
    _work_off(world)
    if world.witness.travelled and not world.log_in_runs:
        while (recover := world.operators.rebuild()) is None:
            _work_off(world)
        world.finish(recover)
    for worker in list(world.workers):
        if worker.code.version != world.version and not worker.is_stopping:
            world.stop(worker)
    world.guardians = [world.born(world.version, "guardian") for _ in world.guardians]
    while sum(not worker.is_stopping for worker in world.workers) < 2:
        world.hire()
    end = world.clock.ms + _BOUND_SECONDS * 1000
    resumed = not resume
    for _ in range(_ENOUGH):
        _round(world)
        if not _is_at_rest(world):
            if world.clock.ms > end:
                break
            world.pass_time(_until_due(world))
        elif resumed:
            break
        else:
            resumed = True
            _resume_all(world)
    # Owners that fell silent are buried by a look, once it is known that somebody looks.
    for _ in range(8):
        world.pass_time(int(world.settings.heartbeat_lapse_seconds * 500))
        _round(world)
    Checker(world).judge()


def _round(world: World) -> None:
    """Let everybody do what there is to do."""
    while world.corpses:
        world.finish(world.bury(0, world.guardians[0]))
    world.finish(world.look(world.guardians[0]))
    _work_off(world)
    for number in range(len(world.queue.messages) * 4):
        idle = [worker for worker in world.workers if worker.is_idle]
        if not idle or not world.queue.messages:
            break
        world.finish(world.deliver(0, idle[number % len(idle)]))
    _work_off(world)


def _work_off(world: World) -> None:
    """Let all that was begun come to its end."""
    while world.activities:
        ready = world.ready()
        for activity in ready:
            world.finish(activity)
        if not ready:
            world.pass_time(200)


def _resume_all(world: World) -> None:
    for run_id, head in world.heads().items():
        if head.status is RunStatus.PAUSED:
            activity = world.operators.command("resume", run_id)
            if activity is not None:
                world.finish(activity)


def _until_due(world: World) -> int:
    """Return how long nothing happens by itself, within bounds."""
    due = world.runs.oldest_due()
    wait = 1000 if due is None else due - world.clock.store_ms()
    return min(max(wait, 100), 30_000)


def _is_at_rest(world: World) -> bool:
    book: Any = world.runs._book
    moving = [
        head
        for head in world.heads().values()
        if head.status not in (RunStatus.COMPLETED, RunStatus.CANCELLED)
        and (head.status not in AT_REST or book.due_at(head.run_id) is not None)
    ]
    return not moving and not world.queue.messages and not world.activities
