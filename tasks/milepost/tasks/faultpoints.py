"""Named points of a step at which tests let a process die, stop or wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

Point = Literal["received", "claimed", "loaded", "ran", "saved", "advanced", "published", "noted"]
"""In the order in which a step passes them; `saved`, `published` and `noted` only where the log or
the broker is not the run store's Redis."""

POINTS: tuple[Point, ...] = get_args(Point)


class FaultPoints:
    """Does nothing at any point until something is installed there."""

    def __init__(self) -> None:
        self._installed: dict[Point, Callable[[str, str], None]] = {}

    def install(self, point: Point, action: Callable[[str, str], None]) -> None:
        """Call *action* with run id and stage each time a step passes *point*."""
        self._installed[point] = action

    def reach(self, point: Point, run_id: str, stage: str) -> None:
        """Pass *point*."""
        if self._installed and (action := self._installed.get(point)) is not None:
            action(run_id, stage)
