"""Some thousand stages through one worker; ``make endurance`` has a million."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from endurance.course import HOPS, MARATHON, RELAY
from endurance.endurance import endure
from endurance.gauge import Growth


@pytest.mark.fault("F63")
@pytest.mark.timeout(400)
def test_neither_worker_nor_server_grows(tmp_path: Path) -> None:
    """One run of 10,000 stages is among the first; the server never holds more of it than it is to keep."""
    leg = Counter({RELAY: 25, HOPS: 3})

    readings = endure(tmp_path, [leg + Counter({MARATHON: 1}), leg, leg, leg], leg_s=180)

    growth = Growth(readings[1], readings[-1])
    assert growth.flat, str(growth)
    # What one stage leaves behind would be many times as much.
    assert max(growth.a_stage(name) for name in growth.memory) < 250, str(growth)
    assert readings[-1].peak < 8_000_000
