"""A process of the simulation: one of many that share an interpreter."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from milepost.checkpointing import CheckpointManager
from milepost.tasks.faultpoints import POINTS, FaultPoints, Point
from milepost.tasks.liveness import OwnerLock
from milepost.tasks.observer import Observers
from milepost.tasks.process import Process
from milepost.tasks.runtime import Runtime

from .activity import current, pause
from .port import LogPort, RunPort
from .queue import SimulatedOutbox

if TYPE_CHECKING:
    from .code import Code
    from .world import World


class SimulatedProcess(Process):
    """Runs stages, looks after runs or gives commands; its own clock may be off.

    Args:
        skew_seconds: By how much its time of day is ahead; may change. What counts from its start does not.
    """

    def __init__(self, world: World, name: str, code: Code, skew_seconds: float = 0.0) -> None:
        self.world = world
        self.name = name
        self.code = code
        self.is_alive = True
        self.is_frozen = False
        self.is_stopping = False
        self.is_leaving = False
        self.cut: set[str] = set()
        """Which of ``runs``, ``log`` and ``queue`` it cannot reach."""
        self.next_beat_ms: int | None = None
        self.heard_ms: int | None = None
        """When it sent the last of what the store has taken for a sign of life."""
        self.claimed: dict[str, str] = {}
        """The nonce of its last claim, by run."""
        self.skew_seconds = skew_seconds
        self._booted_seconds = 1000 * skew_seconds
        faultpoints = FaultPoints()
        for point in POINTS:
            faultpoints.install(point, partial(_pass, point))
        runs = cast(Any, RunPort(world, self))
        log = cast(Any, LogPort(world, self))
        self.runtime = Runtime(
            code.app.celery,
            runs,
            CheckpointManager(log, world.settings, code.app.types),
            world.settings,
            faultpoints,
            code.app.versions,
            Observers(),
            self,
            cast(Any, SimulatedOutbox(world, self)),
        )

    def __repr__(self) -> str:
        return self.worker

    @property
    def worker(self) -> str:
        return self.name

    @property
    def may_act(self) -> bool:
        """Whether it is there and goes on."""
        return self.is_alive and not self.is_frozen

    @property
    def is_idle(self) -> bool:
        """Whether it could take a message."""
        busy = any(activity.process is self for activity in self.world.activities)
        return self.may_act and not self.is_stopping and not busy

    @property
    def beat_ms(self) -> int:
        """How often it sends a heartbeat."""
        return int(self.world.settings.heartbeat_lapse_seconds * 1000 / 3)

    def monotonic(self) -> float:
        return self.world.clock.ms / 1000 + self._booted_seconds

    def now(self) -> float:
        return self.world.clock.ms / 1000 + self.skew_seconds

    def sleep(self, seconds: float) -> None:
        activity = current()
        assert activity is not None
        activity.wake_at = self.monotonic() + seconds
        pause("asleep")

    def in_background(self, work: Callable[[], None], name: str) -> Callable[[float], None]:
        # Its heartbeats are steps of the schedule.
        self.next_beat_ms = self.world.clock.ms + self.beat_ms
        return lambda seconds: None

    def enrol(self, folder: Path, owner: str) -> OwnerLock:
        return cast(OwnerLock, _NoLock())

    def told_to_stop(self, folder: Path) -> bool:
        return self.is_stopping


def _pass(point: Point, run_id: str, stage: str) -> None:
    pause(point)


class _NoLock:
    def release(self) -> None:
        return
