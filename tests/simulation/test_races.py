"""Operators pause, resume and retry a run, all at once, while its stage is under way."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from milepost.tasks import Conflict, RunStatus
from milepost.tasks.transitions import ALLOWED, Command

from .activity import Activity
from .calm import come_to_rest
from .world import Setup, World

POINTS = (
    *("begun", "received", "runs.claim", "after runs.claim", "loaded", "at the end of the stage"),
    *("ran", "saved", "runs.advance", "after runs.advance", "runs.fail", "after runs.fail"),
)


class Race:
    """Activities that take turns; which statuses the run has while each command is under way is kept."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen: dict[Activity, set[RunStatus]] = {}
        self.asked: dict[Activity, Command] = {}
        self.refused = 0

    def ask(self, name: str) -> None:
        """Let somebody else give a command."""
        activity = self._world.operators.command(name, "r0")
        assert activity is not None
        self.asked[activity] = Command(name)
        self._seen[activity] = {self._status()}

    def run(self, task: Activity, draw: random.Random) -> None:
        """Let all go on, in any order, until all have come to an end."""
        while ready := [a for a in (task, *self.asked) if a.is_ready and not a.is_done]:
            self._world.step(draw.choice(ready))
            for seen in self._seen.values():
                seen.add(self._status())

    def judge(self) -> None:
        """See that each was done in a status that allows it, or refused for one that does not."""
        for activity, command in self.asked.items():
            seen, allowed = self._seen[activity], ALLOWED[command]
            if isinstance(activity.outcome, Conflict):
                self.refused += 1
                assert seen - allowed or len(seen) > 1, f"{activity} refused, of {seen}"
            else:
                assert activity.outcome is None, activity.outcome
                assert seen & allowed, f"{activity} done, of {seen}"

    def _status(self) -> RunStatus:
        return self._world.heads()["r0"].status


@pytest.mark.fault("F57")
@pytest.mark.parametrize("fate", ["finish", "raise"])
@pytest.mark.parametrize("since", POINTS)
def test_commands_race_with_a_step(since: str, fate: str) -> None:
    """Whoever loses is told so, no stage is lost or done twice, and the run goes on when it may."""
    refused = done = 0
    for number, commands in enumerate(permutations(("pause", "resume", "retry"), 2)):
        for turn in range(4):
            world = World(Setup(log_in_runs=bool(turn % 2)))
            started = world.operators.start("r0", 0)
            assert started is not None
            world.finish(started)
            world.fates.append(fate)
            task = world.deliver(0, world.hire())
            while task.at != since and not task.is_done:
                world.step(task)
            race = Race(world)
            for name in commands:
                race.ask(name)
            race.run(task, random.Random(number * 10 + turn))
            race.judge()
            refused += race.refused
            done += len(commands) - race.refused
            come_to_rest(world)

            head = world.heads()["r0"]
            assert (head.status, head.stages_done) == (RunStatus.COMPLETED, 4)
            ran = [execution.place.stage for execution in world.witness.executions]
            # A task that was turned away has not run, and so has not failed.
            failed = fate == "raise" and since not in ("begun", "received", "runs.claim")
            assert ran in ([*"abcd"], [*"aabcd"])
            assert not failed or len(ran) == 5
            world.close()
    assert done
    assert refused


def stop(world: World, at: RunStatus) -> None:
    """Let the run stand still, as a pause, a failure or too many deaths let it."""
    if at is RunStatus.PAUSED:
        pause = world.operators.command("pause", "r0")
        assert pause is not None
        world.finish(pause)
    elif at is RunStatus.SCHEDULED:
        world.fates.append("raise")
        world.finish(world.deliver(0, world.hire()))
    else:
        while world.heads()["r0"].status is not at:
            worker = world.hire()
            world.go_on(world.deliver(0, worker), "claimed")
            world.kill(worker, "child")
            world.finish(world.bury(0, world.guardians[0]))
            world.finish(world.look(world.guardians[0]))
    world.queue.messages.clear()
    assert world.heads()["r0"].status is at


@pytest.mark.fault("F57")
@pytest.mark.parametrize("until", ["after runs.resume", "claimed", "ran", "after runs.advance"])
@pytest.mark.parametrize(
    ("at", "name"),
    [
        (RunStatus.PAUSED, "resume"),
        (RunStatus.SCHEDULED, "retry"),
        (RunStatus.FAILED, "retry"),
    ],
)
def test_the_slower_of_two_who_let_a_run_go_on_changes_nothing(
    world: World, at: RunStatus, name: str, until: str
) -> None:
    """Both have seen it stand still; meanwhile the quicker one's stage has come as far as that."""
    stop(world, at)
    slow, quick = (world.operators.command(name, "r0") for _ in range(2))
    assert slow is not None
    assert quick is not None
    world.go_on(slow, "runs.resume")
    world.go_on(quick, "after runs.resume")
    if until != "after runs.resume":
        world.finish(quick)
        world.go_on(world.deliver(0, world.hire()), until)
    before = world.heads()["r0"]
    world.go_on(slow, "after runs.resume")

    assert world.heads()["r0"] == before
    world.finish(slow)
    assert slow.outcome is None or isinstance(slow.outcome, Conflict)
    come_to_rest(world)
    head = world.heads()["r0"]
    assert (head.status, head.stages_done) == (RunStatus.COMPLETED, 4)
    ran = [execution.place.stage for execution in world.witness.executions]
    assert ran[-4:] == [*"abcd"]
