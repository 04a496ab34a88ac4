"""Waiting for a condition, with a deadline: the only way in which tests wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    condition: Callable[[], T], deadline_s: float = 10.0, what: str | Callable[[], str] = ""
) -> T:
    """Return the first truthy value of *condition*.

    Raises:
        AssertionError: There was none before the deadline; *what* says what was waited for.
    """
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() >= end:
            name = (what() if callable(what) else what) or "the condition"
            raise AssertionError(f"Not within {deadline_s:g} s: {name} (last: {value!r})")
        time.sleep(0.02)
    return value
