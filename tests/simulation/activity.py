"""Something that a process does, in pieces: between two of them anything else may happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    from .process import SimulatedProcess


class Dead(BaseException):
    """Raised wherever a dead process would go on: nothing of it does anything any more."""


class Activity:
    """One call, begun but not yet gone through.

    Args:
        work: What is done; its result or error becomes `outcome`.
    """

    def __init__(self, process: SimulatedProcess, name: str, work: Callable[[], Any]) -> None:
        self.process = process
        self.name = name
        self.at = "begun"
        """Where it stands: the fault point, or the store's operation it is about to do or has done."""
        self.wake_at = 0.0
        self.outcome: Any = None
        self._work = work
        self._thread = _Thread(self._run)
        self._thread.activity = self

    def __repr__(self) -> str:
        return f"{self.process.worker} {self.name} at {self.at}"

    @property
    def is_done(self) -> bool:
        """Whether nothing of it is left to do."""
        return bool(self._thread.dead)

    @property
    def is_ready(self) -> bool:
        """Whether it could go on now."""
        asleep = self.wake_at > self.process.monotonic()
        return not self.is_done and not self.process.is_frozen and not asleep

    def step(self) -> None:
        """Go on to the next point."""
        self._thread.switch()

    def abandon(self) -> None:
        """Let go of what its process left behind when it died."""
        while self._thread:
            # Whoever catches it runs into it again at the next thing it does.
            self._thread.throw(Dead)

    def _run(self) -> None:
        try:
            self.outcome = self._work()
        except BaseException as error:  # noqa: BLE001 - what may come of it is for the world to judge
            self.outcome = error


class _Thread(greenlet):
    activity: Activity


def current() -> Activity | None:
    """Return the activity that is going on; None outside of any."""
    return getattr(getcurrent(), "activity", None)


def pause(at: str) -> None:
    """Let other things happen here.

    Raises:
        Dead: The process has died meanwhile.
    """
    activity = current()
    if activity is None:
        return
    if not activity.process.is_alive:
        raise Dead
    activity.at = at
    parent = getcurrent().parent
    assert parent is not None
    parent.switch()
    if not activity.process.is_alive:
        raise Dead
