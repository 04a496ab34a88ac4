"""The pipelines that acceptance tests run, in workers and in the test process alike."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from milepost.tasks import Context, Milepost
from milepost.tasks.faultpoints import POINTS
from support.app_settings import settings_of
from support.ledger import Ledger
from support.waiting import eventually

STAGES = ("first", "second", "third", "fourth")


class Trail(BaseModel):
    """The stages that led here."""

    done: list[str] = []


class Fault:
    """What happens once at one point of one stage, as ``FAULT_…`` variables tell.

    ``FAULT_POINT``: one of `POINTS`, or ``inside`` the stage's body. ``FAULT_STAGE``: by default the
    second. ``FAULT_ACTION``: ``kill`` this process, ``wait`` until the file ``continue`` is there, or
    ``hold`` the interpreter until the pipe ``breath`` has a byte to read.
    ``FAULT_FOLDER``: where it tells by the file ``reached``, which holds the pid, that it is there.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self.point = env.get("FAULT_POINT")
        self._stage = env.get("FAULT_STAGE", "second")
        self._action = env.get("FAULT_ACTION", "wait")
        self._folder = Path(env.get("FAULT_FOLDER", os.devnull))

    def act(self, run_id: str, stage: str) -> None:
        """Act if *stage* is the one, and nobody has acted before."""
        if stage != self._stage:
            return
        try:
            file = os.open(self._folder / "once", os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return
        os.close(file)
        held = self._action == "hold"
        breath = os.open(self._folder / "breath", os.O_RDWR) if held else None
        draft = self._folder / "draft"
        draft.write_text(str(os.getpid()))
        draft.rename(self._folder / "reached")
        if self._action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if breath is None:
            eventually((self._folder / "continue").exists, 100)
        else:
            # Unlike CDLL it keeps the lock of the interpreter: no other thread runs meanwhile.
            ctypes.PyDLL(None).read(breath, ctypes.create_string_buffer(1), 1)
            os.close(breath)


def set_clock(ahead_seconds: int) -> None:
    """Let this process have a wrong time of day from here on, and so all that it forks."""
    right = time.time
    time.time = lambda: right() + ahead_seconds


def build(env: Mapping[str, str]) -> Milepost:
    """Return the app that *env* describes; what begins with ``TEST_`` is ours."""
    app = Milepost(settings=settings_of(env))
    if queue := env.get("TEST_QUEUE"):
        app.celery.conf.task_default_queue = queue
    if prefetch := env.get("TEST_PREFETCH"):
        app.celery.conf.worker_prefetch_multiplier = int(prefetch)
    if visibility := env.get("TEST_VISIBILITY"):
        app.celery.conf.broker_transport_options = {"visibility_timeout": int(visibility)}
    if ahead := env.get("TEST_CLOCK_AHEAD_SECONDS"):
        set_clock(int(ahead))
    ledger, fault = Ledger(Path(env["TEST_LEDGER"])), Fault(env)
    for point in POINTS:
        if point == fault.point:
            app.faultpoints.install(point, fault.act)

    relay = app.pipeline("relay", burst=env.get("TEST_BURST", 0))

    def work(state: Trail, ctx: Context) -> Trail:
        ledger.append(ctx.run_id, ctx.stage, ctx.attempt, ctx.idempotency_key)
        if fault.point == "inside":
            fault.act(ctx.run_id, ctx.stage)
        return Trail(done=[*state.done, ctx.stage])

    @relay.stage
    def first(state: Trail, ctx: Context) -> Trail:
        return work(state, ctx)

    @relay.stage
    def second(state: Trail, ctx: Context) -> Trail:
        return work(state, ctx)

    @relay.stage
    def third(state: Trail, ctx: Context) -> Trail:
        return work(state, ctx)

    @relay.stage
    def fourth(state: Trail, ctx: Context) -> Trail:
        return work(state, ctx)

    counting = app.pipeline("counting")

    @counting.stage
    def count(state: Trail, ctx: Context) -> Trail:
        sums = ctx.progress or {"total": 0}

        def pay() -> str:
            ledger.append(ctx.run_id, "pay", ctx.attempt)
            return "receipt"

        paid = ctx.once("pay", pay)
        for number in ctx.track(range(40), every=0, value=sums):
            ledger.append(ctx.run_id, f"item-{number}", ctx.attempt)
            if number == 20 and ctx.attempt == 1:
                fault.act(ctx.run_id, ctx.stage)
            sums["total"] += number
        ctx.messages.append({"role": "assistant", "content": paid})
        ctx.context.update(sums)
        return Trail(done=[*state.done, paid, str(sums["total"])])

    poison = app.pipeline("poison")

    @poison.stage
    def swallow(state: Trail, ctx: Context) -> Trail:
        ledger.append(ctx.run_id, ctx.stage, ctx.attempt)
        if not Path(env["TEST_ANTIDOTE"]).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return Trail(done=[*state.done, ctx.stage])

    yielding = app.pipeline("yielding")

    @yielding.stage
    def polite(state: Trail, ctx: Context) -> Trail:
        ledger.append(ctx.run_id, ctx.stage, ctx.attempt)
        if ctx.attempt == 1:
            eventually(lambda: ctx.stopping, 30)
            ctx.hand_back()
        return Trail(done=[*state.done, ctx.stage])

    watching = app.pipeline("watching")

    @watching.stage
    def watch(state: Trail, ctx: Context) -> Trail:
        ledger.append(ctx.run_id, ctx.stage, ctx.attempt)
        if ctx.attempt == 1:
            while not ctx.cancelled:
                time.sleep(0.001)
            ledger.append(ctx.run_id, "lost", ctx.attempt)
            ctx.check()
        return Trail(done=[*state.done, ctx.stage])

    return app
