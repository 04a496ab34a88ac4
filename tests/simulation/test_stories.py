"""What the simulation found, told as it happened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from milepost.checkpointing import Unavailable
from milepost.tasks import RunStatus

from .calm import come_to_rest
from .world import Setup, World


@pytest.fixture
def world() -> Iterator[World]:
    """Broker, log and run store each on their own, with a run that has just been started."""
    made = World(Setup())
    started = made.operators.start("r0", 0)
    assert started is not None
    made.finish(started)
    yield made
    made.close()


@pytest.mark.parametrize("since", ["loaded", "ran"])
def test_who_waits_for_the_log_until_its_claim_is_gone_does_not_write(
    world: World, since: str
) -> None:
    """The log is away for longer than a heartbeat's lapse, and so is the run store.

    What is written is the journal, or the commit.
    """
    worker = world.hire()
    task = world.deliver(0, worker)
    world.go_on(task, since)
    world.go_on(task, "log.put")
    world.weather.away |= {"log", "runs"}
    world.go_on(task, "asleep")
    world.pass_time(10_000)
    world.weather.away.clear()
    worker.next_beat_ms = None
    world.go_on(task, "after runs.beat")
    come_to_rest(world)

    assert world.heads()["r0"].status is RunStatus.COMPLETED


def test_a_rewind_that_old_code_began_is_ended_by_new_code(world: World) -> None:
    """The stage it goes on at has another name by now."""
    world.hire()
    for _ in range(2):
        world.finish(world.deliver(0, world.workers[0]))
    rewind = world.operators.command("rewind", "r0", choice=1)
    assert rewind is not None
    world.go_on(rewind, "after log.put")
    world.kill(rewind.process, "child")
    world.version = "2"
    come_to_rest(world)

    head = world.heads()["r0"]
    assert head.status is RunStatus.COMPLETED
    assert [w.metadata.note for w in world.witness.records.values() if w.metadata.note]


def test_a_rewind_that_new_code_began_waits_for_new_code(world: World) -> None:
    """Whoever looks after runs here has never heard of the stage it goes on at."""
    world.version = "2"
    worker = world.hire()
    for _ in range(2):
        world.finish(world.deliver(0, worker))
    rewind = world.operators.command("rewind", "r0", choice=1)
    assert rewind is not None
    world.go_on(rewind, "after log.put")
    world.kill(rewind.process, "child")
    world.kill(worker, "owner")
    world.pass_time(10_000)
    assert world.guardians[0].code.version == "1"
    world.finish(world.look(world.guardians[0]))

    assert world.heads()["r0"].status is RunStatus.REDIRECTING
    come_to_rest(world)
    assert world.heads()["r0"].status is RunStatus.COMPLETED


@pytest.fixture
def thin_world() -> Iterator[World]:
    """Two checkpoints of a run are kept; three stages are done, and the run store went back to the start."""
    made = World(Setup(keep=2))
    started = made.operators.start("r0", 0)
    assert started is not None
    made.finish(started)
    made.keep_snapshot()
    worker = made.hire()
    for _ in range(3):
        made.finish(made.deliver(0, worker))
    assert made.heads()["r0"].stage == "d"
    made.go_back()
    assert made.heads()["r0"].stage == "a"
    yield made
    made.close()


def test_a_run_store_that_went_back_behind_what_is_kept_catches_up(thin_world: World) -> None:
    """The checkpoint that it names is gone; the log's last commit is what the run goes on from."""
    come_to_rest(thin_world)

    head = thin_world.heads()["r0"]
    assert (head.status, head.stages_done) == (RunStatus.COMPLETED, 4)
    ran = [execution.place.stage for execution in thin_world.witness.executions]
    assert ran == ["a", "b", "c", "d"]


@pytest.mark.fault("F71")
@pytest.mark.parametrize("since", ["advanced", "after runs.get", "runs.delete_behind"])
def test_who_makes_room_behind_a_commit_that_a_store_forgot_removes_nothing(since: str) -> None:
    """The run store went back with its log: what would be old behind that commit is all there is now."""
    world = World(Setup(log_in_runs=True, keep=1))
    started = world.operators.start("r0", 0)
    assert started is not None
    world.finish(started)
    world.keep_snapshot()
    task = world.deliver(0, world.hire())
    world.go_on(task, "advanced")
    world.go_on(task, since)
    world.go_back()
    world.finish(task)

    assert world.heads()["r0"].stage == "a"
    come_to_rest(world)
    head = world.heads()["r0"]
    assert (head.status, head.stages_done) == (RunStatus.COMPLETED, 4)
    world.close()


def test_tokens_go_on_above_those_of_what_is_adopted(world: World) -> None:
    """The run store went back behind claims that came to nothing; later tokens have to tell later claims."""
    world.keep_snapshot()
    worker = world.hire()
    world.fates += ["raise"] * 5
    while world.heads()["r0"].stage == "a":
        world.pass_time(1000)
        world.finish(world.look(world.guardians[0]))
        if world.queue.messages:
            world.finish(world.deliver(0, worker))
    world.go_back()
    come_to_rest(world)

    assert world.heads()["r0"].status is RunStatus.COMPLETED


def test_a_cancelled_run_whose_state_is_gone_still_says_where_it_was(thin_world: World) -> None:
    """Its last checkpoint continues from the one that the head named."""
    was = thin_world.heads()["r0"].checkpoint_id
    cancel = thin_world.operators.command("cancel", "r0")
    assert cancel is not None
    thin_world.finish(cancel)
    head = thin_world.heads()["r0"]

    assert head.status is RunStatus.CANCELLED
    assert thin_world.witness.records[head.checkpoint_id].metadata.parent == was


def test_a_dead_process_writes_nothing(world: World) -> None:
    """Nor does any `finally` on its way out: the simulation itself would be wrong."""
    worker = world.hire()
    task = world.deliver(0, worker)
    world.go_on(task, "ran")
    before = world.heads()
    world.kill(worker, "child")
    world.close()

    assert world.heads() == before
    with pytest.raises(BaseException, match=r"^$"):
        worker.runtime.runs.get("r0")


def test_a_reply_that_is_lost_is_an_effect(world: World) -> None:
    """Else the simulation would know no lost replies."""
    worker = world.hire()
    world.weather.arm("runs", "after")
    task = world.deliver(0, worker)
    world.finish(task)

    assert isinstance(task.outcome, Unavailable)
    assert world.heads()["r0"].status is RunStatus.RUNNING


@pytest.mark.fault("F54")
def test_a_look_that_takes_longer_than_its_lease_leaves_the_rest_to_others(world: World) -> None:
    """Else each of many who look would publish all that the slowest have not come to yet."""
    for number in range(1, 4):
        world.weather.arm("queue", "before")
        started = world.operators.start(f"r{number}", number)
        assert started is not None
        world.finish(started)
    assert len(world.queue.messages) == 1
    world.pass_time(3000)
    slow = world.look(world.guardians[0])
    world.go_on(slow, "after runs.requeue")
    world.pass_time(6000)
    world.finish(world.look(world.guardians[1]))
    world.finish(slow)

    assert sorted(message.step.run_id for message in world.queue.messages) == [
        *("r0", "r1", "r2", "r3")
    ]
    come_to_rest(world)
    assert {head.status for head in world.heads().values()} == {RunStatus.COMPLETED}
