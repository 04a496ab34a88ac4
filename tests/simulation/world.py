"""The simulated world: stores, a queue, processes, and what they are doing."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from milepost.checkpointing import CheckpointError, Unavailable
from milepost.checkpointing.serializer import Serializer
from milepost.tasks import Context
from milepost.tasks.head import Head
from milepost.tasks.runs import Cause
from milepost.tasks.runs.book import OwnerEntry
from milepost.tasks.runs.memory import MemoryRunStore
from milepost.tasks.setbacks import StageFailed
from milepost.tasks.settings import TaskSettings

from .activity import Activity, Dead, pause
from .clock import Clock
from .code import NAME, PAYING, FlakyError, code, expected
from .log import WatchedLog
from .operators import Operators
from .process import SimulatedProcess
from .queue import SimulatedQueue
from .snapshot import Snapshot
from .weather import Weather
from .witness import Witness

logger = logging.getLogger("simulation")
HOSTS = ("hut", "inn")


@dataclass(frozen=True, slots=True)
class Setup:
    """What a world is made of."""

    log_in_runs: bool = False
    queue_in_runs: bool = False
    burst: bool = False
    keep: int | None = None
    retention_seconds: float = 7 * 86400.0
    lapse_seconds: float = 2.0


@cache
def settings_of(setup: Setup) -> TaskSettings:
    """Return the settings, made once: the environment is read for each."""
    return TaskSettings(
        heartbeat_lapse_seconds=setup.lapse_seconds,
        retention_seconds=setup.retention_seconds,
        lock_directory=Path("/tmp"),
    )


class World:
    """Everything there is. Nothing happens in it but by its methods, which a schedule calls."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.settings = settings_of(setup)
        self.log_in_runs = setup.log_in_runs
        self.queue_in_runs = setup.queue_in_runs
        self.clock = Clock()
        self.weather = Weather()
        self.counts = self.weather.counts
        self.queue = SimulatedQueue(self)
        self.log = WatchedLog(self)
        self.runs = MemoryRunStore(
            self.settings,
            self.log if setup.log_in_runs else None,
            self.clock.store_ms,
            self.queue.push,
        )
        self.serializer = Serializer(self.settings, code("1").app.types)
        self.witness = Witness(self)
        self.activities: list[Activity] = []
        self.workers: list[SimulatedProcess] = []
        self.corpses: list[tuple[str, Cause]] = []
        """Owners that are gone, and what those who saw it would say."""
        self.snapshot: Snapshot | None = None
        self.fates: list[str] = []
        """What the next stages do, instead of what they are asked to."""
        self.paid = 0
        self._graveyard: list[Activity] = []
        self._names = 0
        for version in ("1", "2"):
            code(version).world = self
            code(version).pipeline.keep = setup.keep
            code(version).pipeline.keep_on_success = setup.keep
        self.set_burst(setup.burst)
        self.version = "1"
        self.guardians = [self.born("1", "guardian") for _ in range(2)]
        self.operators = Operators(self)

    def set_burst(self, on: bool) -> None:
        """Let tasks go on with the stages that follow, or not."""
        for version in ("1", "2"):
            code(version).pipeline.burst_seconds = 30.0 if on else 0.0

    def heads(self) -> dict[str, Head]:
        """Return all heads as they are now."""
        book: Any = self.runs._book
        return dict(book.heads)

    def owners(self) -> dict[str, OwnerEntry]:
        """Return what the store knows of owners."""
        book: Any = self.runs._book
        return defaultdict(lambda: OwnerEntry(0), book.owners())

    def born(
        self, version: str, role: str = "worker", skew_seconds: float = 0.0
    ) -> SimulatedProcess:
        """Return a new process, on one host or the other."""
        self._names += 1
        host = HOSTS[self._names % len(HOSTS)]
        return SimulatedProcess(self, f"{host}-{role}:{self._names}", code(version), skew_seconds)

    def hire(self, version: str | None = None, skew_seconds: float = 0.0) -> SimulatedProcess:
        """Start a worker."""
        worker = self.born(version or self.version, skew_seconds=skew_seconds)
        self.workers.append(worker)
        return worker

    def begin(self, process: SimulatedProcess, name: str, work: Callable[[], Any]) -> Activity:
        """Let a process begin something."""
        activity = Activity(process, name, work)
        self.activities.append(activity)
        return activity

    def step(self, activity: Activity) -> None:
        """Let an activity go on to its next point."""
        activity.step()
        if self.witness.first is not None:
            raise self.witness.first
        if activity.is_done:
            if activity in self.activities:
                self.activities.remove(activity)
            self._judge(activity)
            self._leave(activity.process)

    def go_on(self, activity: Activity, until: str) -> None:
        """Let an activity go on to a point, which it has to come to."""
        while activity.at != until:
            assert not activity.is_done, f"it never came to {until}"
            self.step(activity)

    def finish(self, activity: Activity) -> None:
        """Let an activity go on until it is done, or cannot."""
        while activity.is_ready and activity.process.is_alive:
            self.step(activity)

    def ready(self) -> list[Activity]:
        """Return what could go on."""
        return [activity for activity in self.activities if activity.is_ready]

    def deliver(self, index: int, worker: SimulatedProcess) -> Activity:
        """Give a message to a worker, which need not be the oldest."""
        message = self.queue.messages.pop(index % len(self.queue.messages))
        step, engine = message.step, worker.runtime.engine
        known = step.stage in worker.code.pipeline.known_stages
        take = engine.execute if known else engine.turn_away
        return self.begin(worker, f"{step.stage} of {step.run_id}", partial(take, NAME, step))

    def kill(self, process: SimulatedProcess, cause: Cause) -> None:
        """Let a process end where it stands; whoever looks after its host may see it."""
        mine = [activity for activity in self.activities if activity.process is process]
        for activity in mine:
            self.counts[f"killed at {activity.at.replace('after ', '')}"] += 1
        self.counts["processes killed"] += 1
        self.witness.story.append(f"{process} dies, {mine}")
        process.is_alive = False
        self._graveyard += mine
        self.activities = [a for a in self.activities if a.process is not process]
        if process in self.workers:
            self.workers.remove(process)
        if process in self.guardians:
            self.guardians[self.guardians.index(process)] = self.born(self.version, "guardian")
        owner = process.runtime.owner_id
        if owner is not None:
            self.corpses.append((owner, "leaving" if process.is_stopping else cause))

    def bury(self, index: int, guardian: SimulatedProcess) -> Activity:
        """Let a guardian free what a dead process held."""
        corpse = self.corpses.pop(index % len(self.corpses))

        def bury() -> None:
            try:
                guardian.runtime.runs.bury(*corpse)
            except Unavailable:
                self.corpses.append(corpse)

        return self.begin(guardian, f"burial {corpse[1]}", bury)

    def stop(self, process: SimulatedProcess) -> None:
        """Tell a worker to stop in order; it leaves when it has nothing left to do."""
        self.counts["processes stopped"] += 1
        process.is_stopping = True
        self._leave(process)

    def look(self, guardian: SimulatedProcess) -> Activity:
        """Let a guardian reconcile."""
        return self.begin(guardian, "look", guardian.runtime.reconciler.look)

    def beat(self, process: SimulatedProcess) -> Activity:
        """Let a process begin to send a heartbeat."""
        process.next_beat_ms = self.clock.ms + process.beat_ms
        return self.begin(process, "heartbeat", process.runtime.owner.beat)

    def pass_time(self, ms: int) -> None:
        """Let time pass, and processes that can send their heartbeats."""
        end = self.clock.ms + ms
        while self.clock.ms < end:
            beating = [w for w in self.workers if w.may_act and w.next_beat_ms is not None]
            now = min([end, *(max(w.next_beat_ms or 0, self.clock.ms) for w in beating)])
            self.clock.ms = now
            for worker in beating:
                due = worker.next_beat_ms is not None and worker.next_beat_ms <= now
                if due and worker.is_alive:
                    self.finish(self.beat(worker))

    def keep_snapshot(self) -> None:
        """Remember the stores as they are."""
        self.snapshot = Snapshot(self)

    def go_back(self) -> None:
        """Let the run store, and what lies with it, go back to when they were remembered."""
        if self.snapshot is not None:
            self.counts["store went back"] += 1
            self.witness.story.append(f"the store goes back to {self.snapshot.order}")
            self.snapshot.restore(self)
            self.operators.went_back(self.snapshot)

    def lose_a_commit(self, index: int) -> None:
        """Let a commit be gone that nobody needs: one behind the head, made since the stores were remembered.

        Only if they go back will it be missed.
        """
        if self.snapshot is None or self.log_in_runs or self.setup.keep:
            return
        lost = []
        for run_id, then in self.snapshot.heads.items():
            head, key = self.heads().get(run_id), then.key
            key = key._replace(sequence=then.sequence + 1, timeline=then.timeline)
            if head and head.timeline == then.timeline and head.sequence > key.sequence:
                lost.append(key)
        if lost:
            self.counts["commits lost behind the head"] += 1
            self.log.delete(lost[index % len(lost)])

    def perform(self, stage: str, state: Any, ctx: Context) -> Any:
        """Be the body of a stage, in whatever process runs it."""
        from .activity import current

        activity = current()
        assert activity is not None
        process = activity.process
        self.witness.ran(process, ctx.run_id, stage)
        fate = self.fates.pop(0) if self.fates else ""
        if fate:
            self.counts[f"stage: {fate}"] += 1
        pause("in the stage")
        if fate == "save":
            ctx.save({"half": stage})
        if fate == "cost":
            ctx.cost(usd=0.5)
        receipt = None
        if stage in PAYING:
            receipt = ctx.once("pay", lambda: self._pay(process, ctx.run_id, stage))
        if fate == "raise":
            raise FlakyError("It works the next time (simulated).")
        if fate == "exit":
            raise SystemExit(3)
        if fate == "hand back" or (ctx.stopping and fate != "finish"):
            ctx.hand_back()
        pause("at the end of the stage")
        return expected(stage, state, receipt)

    def close(self) -> None:
        """Let go of everything."""
        for activity in self.activities:
            activity.process.is_alive = False
        for activity in [*self._graveyard, *self.activities]:
            activity.process.is_alive = False
            activity.abandon()

    def _pay(self, process: SimulatedProcess, run_id: str, stage: str) -> int:
        number = self.witness.paid(process, run_id, stage)
        pause("paid")
        return number

    def _judge(self, activity: Activity) -> None:
        """Let what an activity came to be known, and see that it is nothing that must not be."""
        outcome = activity.outcome
        if not isinstance(outcome, BaseException) or isinstance(outcome, Dead | Unavailable):
            return
        if activity.process in self.operators.clients:
            self.operators.judge(activity, outcome)
        elif isinstance(outcome, SystemExit):
            self.kill(activity.process, "child")
        elif not isinstance(outcome, StageFailed):
            raise outcome
        elif isinstance(outcome.error, CheckpointError) and not self.operators.may_be_gone(
            activity.name.split()[-1]
        ):
            raise self.witness.broken("I1", f"{activity} cannot be run: {outcome.error!r}")

    def _leave(self, process: SimulatedProcess) -> None:
        """Let a worker that is to stop, and has nothing left to do, sign off."""
        if not process.is_stopping or not process.is_alive:
            return
        if any(activity.process is process for activity in self.activities):
            return
        if not process.is_leaving:
            process.is_leaving = True
            self.begin(process, "farewell", process.runtime.close)
            return
        process.is_alive = False
        self.workers.remove(process)
        # Its lock file is still there if it could not sign off, and whoever has it may say so twice.
        if process.runtime.owner_id is not None:
            self.corpses.append((process.runtime.owner_id, "leaving"))
