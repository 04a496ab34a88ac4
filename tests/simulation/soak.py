"""Schedules without end, or for so long: ``make soak``, with SOAK_SECONDS or SOAK_SCHEDULES, and SEED."""

from __future__ import annotations

import logging
import os
import random
import sys
import time
from collections import Counter

from .schedule import Schedule
from .witness import Broken

FAULTS = (
    "killed", "stopped", "frozen", "lost", "repeated", "dropped", "out of reach", "went back", "jumped",
    "stage:", "deploys", "commits lost",
)  # fmt: skip
"""What of a world's counts is a fault; the rest are commands and answers."""


class Tally:
    """Adds up what schedules did."""

    def __init__(self) -> None:
        self.schedules = 0
        self.changes = 0
        self.executions = 0
        self.counts: Counter[str] = Counter()
        self.dead_letters = 0
        self.broken: Counter[str] = Counter()
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    @property
    def faults(self) -> int:
        """All that went wrong."""
        return sum(self._by_kind().values())

    def run(self, seed: int) -> Broken | None:
        """Run one schedule; return what it broke."""
        schedule = Schedule(seed)
        error: Broken | None = None
        try:
            schedule.run()
        except Broken as broken:
            error = broken
            self.broken[str(broken)[:2]] += 1
        witness = schedule.world.witness
        self.schedules += 1
        self.changes += witness.order
        self.executions += len(witness.executions)
        self.counts += schedule.world.counts
        self.dead_letters += witness.dead_letters
        return error

    def report(self) -> str:
        """Return the figures, a line each."""
        rate = self.schedules / self.seconds * 60
        lines = [
            f"schedules                    {self.schedules} in {self.seconds:.0f} s, {rate:.0f} a minute",
            f"changes seen                 {self.changes}",
            f"stages begun                 {self.executions}",
            f"faults                       {self.faults}",
            *(f"  {kind:26} {number}" for kind, number in self._by_kind().most_common()),
            f"lost                         {self.broken['I1']}",
            f"double commits               {self.broken['I2'] + self.broken['I5']}",
            f"wrong states                 {self.broken['I3']}",
            f"committed stages run again   {self.broken['I4']}",
            f"other broken invariants      {sum(self.broken[i] for i in ('I6', 'I7', 'I8'))}",
            f"dead letters                 {self.dead_letters} (each after max_crashes)",
        ]
        return "\n".join(lines)

    def _by_kind(self) -> Counter[str]:
        kinds: Counter[str] = Counter()
        for name, number in self.counts.items():
            if name.startswith("killed at"):
                kinds["killed in the middle"] += number
            elif any(word in name for word in FAULTS):
                kinds[name] += number
        return kinds


def main() -> int:
    """Run schedules until time or number is up; 1 if one broke something."""
    logging.disable(logging.CRITICAL)
    seconds = float(os.environ.get("SOAK_SECONDS", "60"))
    wanted = int(os.environ.get("SOAK_SCHEDULES", "0"))
    first = int(os.environ.get("SEED") or random.randrange(1 << 40))
    print(f"first seed {first}", flush=True)
    tally, told = Tally(), 0.0
    seed = first
    while tally.schedules < wanted if wanted else tally.seconds < seconds:
        if (broken := tally.run(seed)) is not None:
            print(f"seed {seed}: {broken}", flush=True)
        seed += 1
        if tally.seconds - told > 60:
            told = tally.seconds
            print(f"{tally.schedules} schedules, {tally.faults} faults", flush=True)
    print(tally.report())
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
