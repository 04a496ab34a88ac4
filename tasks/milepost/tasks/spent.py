"""What a run has spent: money, tokens, time, by unit, useful and wasted apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

Amounts = dict[str, float]
_DIGITS = 14
"""What the Lua files keep of a number."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Amounts by unit.

    What a try spends is wasted if the try fails or dies, but for what was spent before it last saved its
    progress or noted an effect in its journal, because no other try does that again.
    """

    useful: Amounts
    wasted: Amounts

    @property
    def total(self) -> Amounts:
        """Both together."""
        return added(self.useful, self.wasted)


def added(*parts: Mapping[str, float]) -> Amounts:
    """Add amounts unit by unit."""
    total: Amounts = {}
    for part in parts:
        for unit, amount in part.items():
            total[unit] = total.get(unit, 0) + amount
    return total


def read_amounts(text: str) -> Amounts:
    """Read what `write_amounts` wrote, or a Lua file."""
    return dict(json.loads(text)) if text else {}


def write_amounts(amounts: Mapping[str, float]) -> str:
    """Write amounts as JSON, without units of which there is nothing; empty if nothing is left."""
    kept = {unit: float(f"{amount:.{_DIGITS}g}") for unit, amount in amounts.items() if amount}
    return json.dumps(kept) if kept else ""
