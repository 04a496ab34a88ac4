"""Lengths of time as people write them."""

from __future__ import annotations

import re
from datetime import timedelta

from milepost.checkpointing import Misconfigured

Duration = str | float | timedelta
"""Seconds, a timedelta, or text such as ``"500ms"``, ``"10m"`` or ``"1h30m"``."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds(duration: Duration) -> float:
    """Return *duration* in seconds.

    Raises:
        Misconfigured: It is negative or not understood.
    """
    if isinstance(duration, timedelta):
        duration = duration.total_seconds()
    if isinstance(duration, str):
        text = duration.strip()
        parts = _PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise Misconfigured(
                f"{duration!r} is no duration: expected seconds or text such as '500ms', '10m' or "
                "'1h30m'."
            )
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 0 <= duration < float("inf"):
        raise Misconfigured(f"{duration!r} is no duration: it must be zero or more seconds.")
    return float(duration)
