"""Processes that sleep through their claim: what they do when they wake changes nothing."""

from __future__ import annotations

import signal
from typing import Any, Literal

import pytest

from acceptance.arena import Arena, Rescuer
from acceptance.pipelines import STAGES, Trail
from milepost.checkpointing.models import Kind
from milepost.tasks import Milepost, Run
from support.processes import Pool, Worker
from support.waiting import eventually

DONE = Trail(done=[*STAGES])
Sleep = Literal["stopped", "held"]
"""By SIGSTOP when the stage's body is done; or in it, by native code that holds the interpreter."""


def take_no_more(app: Milepost, worker: Worker, queue: str) -> None:
    """Let *worker* take nothing more from *queue*."""
    cancel = app.celery.control.cancel_consumer
    replies: Any = eventually(
        lambda: cancel(queue, destination=[worker.name], reply=True, timeout=2),
        20,
        "a reply to cancel_consumer",
    )
    assert "ok" in replies[0][worker.name], replies


def committed(run: Run) -> list[str | None]:
    """The stages whose commits are in the log, newest first."""
    return [found.stage for found in run.checkpoints() if found.kind is Kind.COMMIT]


@pytest.mark.parametrize(
    ("where", "sleep", "pool", "hours"),
    [
        pytest.param("arena", "stopped", "prefork", 0, marks=pytest.mark.fault("F49")),
        pytest.param("split_arena", "stopped", "prefork", 1, marks=pytest.mark.fault("F49", "F52")),
        pytest.param("arena", "held", "prefork", 0, marks=pytest.mark.fault("F51")),
        pytest.param("split_arena", "held", "threads", 0, marks=pytest.mark.fault("F51")),
    ],
)
def test_who_wakes_while_another_has_the_run_commits_nothing(
    request: pytest.FixtureRequest, where: str, sleep: Sleep, pool: Pool, hours: int
) -> None:
    """Nor does it publish, or give free what the other one holds.

    The clock of the one is ahead by *hours*, and that of the other one behind.
    """
    arena: Arena = request.getfixturevalue(where)
    queue = f"{sleep}-{where}"
    stopped = sleep == "stopped"
    asleep = arena.trap("ran") if stopped else arena.trap("inside", action="hold")
    awake = arena.trap("inside")
    ahead, behind = ({"TEST_CLOCK_AHEAD_SECONDS": str(n * 3600)} for n in (hours, -hours))
    with (
        arena.app(queue) as app,
        arena.worker(pool, env={"TEST_QUEUE": queue, **asleep.env, **ahead}) as sleeper,
        arena.worker("threads", env={**awake.env, **behind}) as other,
    ):
        sleeper.wait_ready()
        other.wait_ready()
        run = app.start("relay", Trail())
        pid = asleep.wait_reached()
        if pool == "prefork":
            take_no_more(app, sleeper, queue)
        if stopped:
            sleeper.signal_pid(pid, signal.SIGSTOP)
            asleep.release()
        Rescuer(other).take_over(app, queue)
        awake.wait_reached(30)
        held = run.head
        assert held.worker.endswith(f":{other.pid}")

        if stopped:
            sleeper.signal_pid(pid, signal.SIGCONT)
        else:
            asleep.release()
        sleeper.wait_for_log("'fenced'")

        assert run.head == held
        assert committed(run) == ["first", None]
        awake.release()
        arena.checker(app).judge(
            run, state=DONE, stages=STAGES, executions={"second": 2}, queues=("milepost", queue)
        )
        assert pid in (sleeper.children if pool == "prefork" else [sleeper.pid])


@pytest.mark.fault("F50")
@pytest.mark.parametrize("point", ["advanced", "published"])
def test_who_publishes_late_changes_nothing(
    split_arena: Arena, split_rescuer: Rescuer, point: str
) -> None:
    """The run has come to its end by others when the message comes, or is noted as published."""
    arena, queue = split_arena, f"late-{point}"
    # What is published belongs to the stage that is due then.
    trap = arena.trap(point, "second" if point == "advanced" else "third")
    with (
        arena.app(queue) as app,
        arena.worker(env={"TEST_QUEUE": queue, **trap.env}) as sleeper,
    ):
        sleeper.wait_ready()
        run = app.start("relay", Trail())
        pid = trap.wait_reached()
        sleeper.signal_pid(pid, signal.SIGSTOP)
        trap.release()
        if point == "published":
            sleeper.wait_for_log("Task relay.third[")
        take_no_more(app, sleeper, queue)
        split_rescuer.take_over(app, queue)
        run.wait(20)
        ended, before = run.head, split_rescuer.worker.text().count("'finished'")

        sleeper.signal_pid(pid, signal.SIGCONT)
        sleeper.wait_for_log("'advanced to third'")

        def turned_away() -> int:
            """By whom depends on who had taken the message: the worker of the sleeper has one ready."""
            texts = (split_rescuer.worker.text(), sleeper.text())
            return sum(text.count("'finished'") for text in texts) - before

        eventually(turned_away, 10, "the late message turned away")
        arena.checker(app).judge(
            run, state=DONE, stages=STAGES, executions={}, queues=("milepost", queue)
        )
        assert run.head == ended
