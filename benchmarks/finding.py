"""One line of the report."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A median with its spread, and the goal it is held against."""

    benchmark: str
    what: str
    unit: str
    median: float
    low: float
    high: float
    n: int
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def goal(self) -> str:
        """The goal as text; empty where there is none."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"

    @property
    def is_met(self) -> bool | None:
        """Whether the median reaches the goal; None where there is none."""
        if self.at_least is not None:
            return self.median >= self.at_least
        return None if self.at_most is None else self.median <= self.at_most


def finding(
    benchmark: str,
    what: str,
    unit: str,
    values: Sequence[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Finding:
    """Return the line for *values*: their median, least and greatest."""
    return Finding(
        benchmark,
        what,
        unit,
        statistics.median(values),
        min(values),
        max(values),
        len(values),
        at_least,
        at_most,
        note,
    )
