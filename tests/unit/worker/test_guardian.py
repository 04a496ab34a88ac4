"""What the death of a process says about its stages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from milepost.tasks import liveness
from milepost.worker.guardian import cause_of_death

ME = os.getpid()
SINCE = 1_000.0


@pytest.mark.parametrize(
    ("pid", "parent", "born", "cause"),
    [
        (ME + 1, ME, SINCE + 1, "child"),
        (ME + 1, ME + 2, SINCE + 1, "owner"),
        # A container that was started again: pid 1 was pid 1 before, too.
        (ME, ME, SINCE - 1, "owner"),
        (ME + 1, ME, SINCE - 1, "owner"),
    ],
    ids=["its own", "another's", "started again", "older than it"],
)
def test_only_a_child_of_this_worker_died_by_its_own_stage(
    tmp_path: Path, pid: int, parent: int, born: float, cause: str
) -> None:
    assert cause_of_death(tmp_path, liveness.Neighbour("o", pid, parent, born), SINCE) == cause


def test_who_was_told_to_stop_was_leaving(tmp_path: Path) -> None:
    liveness.announce_stop(tmp_path)

    child = liveness.Neighbour("o", ME + 1, ME, SINCE + 1)

    assert cause_of_death(tmp_path, child, SINCE) == "leaving"
