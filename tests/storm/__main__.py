"""``make storm``: storms until so many faults have happened, and the account of all."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from secrets import randbelow
from typing import get_args

from .account import Account
from .fleet import Places
from .storm import storm

_FAULTS_A_STORM = 100
_RUNS_A_STORM = 200


def main() -> int:
    """Return 0 if all that is promised was kept."""
    parser = argparse.ArgumentParser(prog="make storm")
    parser.add_argument("--seed", type=int, default=randbelow(1 << 32))
    parser.add_argument("--faults", type=int, default=_FAULTS_A_STORM)
    parser.add_argument("--places", choices=get_args(Places), help="by default each in turn")
    asked = parser.parse_args()
    total = Account()
    for number in range(max(1, asked.faults // _FAULTS_A_STORM)):
        seed = asked.seed + number
        places = asked.places or get_args(Places)[seed % 3]
        faults = min(asked.faults, _FAULTS_A_STORM)
        print(f"--seed {seed} --faults {faults} --places {places}", flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="milepost-storm-") as folder:
            account = storm(Path(folder), seed, places=places, runs=_RUNS_A_STORM, faults=faults)
        print(f"{account}\n{time.monotonic() - began:.0f} s\n", flush=True)
        total.add(account)
    print(f"In all, from --seed {asked.seed}:\n{total}")
    return 0 if total.faultless else 1


if __name__ == "__main__":
    sys.exit(main())
