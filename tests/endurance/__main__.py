"""``make endurance``: 10⁶ stages through one worker, and what grew."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from .course import HOPS, MARATHON, RELAY, STAGES
from .endurance import endure
from .gauge import Growth

_LEGS = 20
_LEG_SECONDS = 3600.0
_WARM = 5


def main() -> int:
    """Return 0 if nothing has grown."""
    parser = argparse.ArgumentParser(prog="make endurance")
    parser.add_argument("--stages", type=int, default=1_000_000)
    asked = parser.parse_args()
    runs = (asked.stages // _LEGS - STAGES[MARATHON]) // 100
    # A tenth of the runs without bursts: they take most of the time.
    leg = Counter({MARATHON: 1, RELAY: runs * 9 // 10, HOPS: runs - runs * 9 // 10})
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="milepost-endurance-") as folder:
        readings = endure(Path(folder), [leg] * _LEGS, leg_s=_LEG_SECONDS, tell=_tell)
    seconds = time.monotonic() - began
    # Caches of names and of rendered messages are full by then, in each of the processes.
    growth = Growth(readings[_WARM], readings[-1])
    print(f"{readings[-1].stages:,} stages in {seconds:.0f} s. {growth}")
    return 0 if growth.flat else 1


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
