"""Lengths of time as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from milepost.checkpointing import Misconfigured
from milepost.tasks.duration import seconds


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("500ms", 0.5),
        ("10m", 600),
        ("1h30m", 5400),
        ("2d", 172800),
        (1.5, 1.5),
        (timedelta(hours=1), 3600),
    ],
)
def test_understood(written: str | float | timedelta, expected: float) -> None:
    """In seconds."""
    assert expected == seconds(written)


@pytest.mark.parametrize(
    "written", ["", "10", "m", "10 parsecs", "1h 30", -1, float("inf"), float("nan")]
)
def test_refused(written: str | float) -> None:
    """A bare number in text is ambiguous, and time does not run backwards."""
    with pytest.raises(Misconfigured):
        seconds(written)
