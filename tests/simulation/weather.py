"""What befalls calls to stores and queue."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .process import SimulatedProcess

Fault = Literal["before", "after", "twice"]
"""The call never arrives; it takes effect, but its reply is lost; the client sends it a second time."""
FAULTS: tuple[Fault, ...] = ("before", "after", "twice")
PLACES = ("runs", "log", "queue")


class Weather:
    """Knows which call will fail, and counts what it did."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.away: set[str] = set()
        """What nobody can reach."""
        self._armed: dict[str, list[Fault]] = {}

    def arm(self, place: str, fault: Fault, times: int = 1) -> None:
        """Let the next calls to *place* meet *fault*, whoever makes them."""
        self._armed.setdefault(place, []).extend([fault] * times)

    def strikes(self, place: str, process: SimulatedProcess) -> Fault | None:
        """Return what befalls this call."""
        if place in self.away or place in process.cut:
            self.counts[f"{place} out of reach"] += 1
            return "before"
        armed = self._armed.get(place)
        if not armed:
            return None
        fault = armed.pop(0)
        words = {"before": "call lost", "after": "reply lost", "twice": "call repeated"}
        self.counts[f"{place}: {words[fault]}"] += 1
        return fault

    def clear(self) -> None:
        """Let everything be well from now on."""
        self.away.clear()
        self._armed.clear()
