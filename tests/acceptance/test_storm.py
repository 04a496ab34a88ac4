"""A short storm over real processes; ``make storm`` has longer ones."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from secrets import randbelow
from typing import get_args

import pytest

from storm.fleet import Places
from storm.storm import storm


@pytest.mark.fault("F17")
def test_nothing_is_lost_in_a_storm(tmp_path: Path) -> None:
    """``STORM_SEED`` draws the same lots again."""
    seed = int(os.environ.get("STORM_SEED") or randbelow(1 << 32))
    places = Random(seed).choice(get_args(Places))

    account = storm(tmp_path, seed, places=places, runs=30, faults=25, pause_s=(0.1, 0.6))

    told = f"STORM_SEED={seed} ({places})\n{account}"
    print(told)
    assert account.faultless, told
    assert account.strikes.total() == 25
    assert account.tries >= account.runs * 8
