"""Random schedules of the simulation: a fresh seed each time, which is printed and replays exactly."""

from __future__ import annotations

import os
import random

import pytest

from .schedule import Schedule
from .witness import Broken

SCHEDULES = 160


@pytest.mark.fault("F17", "F52", "F53", "F57")
@pytest.mark.timeout(300)
def test_nothing_is_lost_whatever_happens(pytestconfig: pytest.Config) -> None:
    """All invariants, in worlds where processes, stores, queue and operators do what they like."""
    given = pytestconfig.getoption("--seed") or os.environ.get("SEED")
    first = int(given) if given else random.randrange(1 << 40)
    print(f"first seed {first}")
    for seed in range(first, first + (1 if given else SCHEDULES)):
        schedule = Schedule(seed)
        try:
            schedule.run()
        except Broken as broken:
            story = "\n".join(schedule.world.witness.story)
            pytest.fail(f"{broken}\nReplay: pytest tests/simulation --seed {seed}\n{story}")


def test_a_seed_replays_exactly() -> None:
    """Else a failure could not be looked into."""
    first = Schedule(20_240_601)
    first.run()
    again = Schedule(20_240_601)
    again.run()

    def told(schedule: Schedule) -> list[tuple[str, str]]:
        return [(e.process, e.place.stage) for e in schedule.world.witness.executions]

    assert told(first) == told(again)
    assert first.world.counts == again.world.counts
    assert len(first.world.witness.story) == len(again.world.witness.story)
