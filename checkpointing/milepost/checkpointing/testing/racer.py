"""Races another process for a run's numbers: ``python -m milepost.checkpointing.testing.racer``."""

from __future__ import annotations

import sys

from ..errors import AlreadyExists
from ..stores import open_store
from .records import make_record


def race(url: str, name: str, count: int) -> None:
    """Say that the store is open, wait for a line, and tell the numbers that were won."""
    with open_store(url) as store:
        print("ready", flush=True)  # noqa: T201 - its output is how it talks
        sys.stdin.readline()
        won = []
        for sequence in range(count):
            try:
                store.put(make_record("race", sequence, note=name))
            except AlreadyExists:
                continue
            won.append(sequence)
        print(*won, flush=True)  # noqa: T201


if __name__ == "__main__":
    race(sys.argv[1], sys.argv[2], int(sys.argv[3]))
