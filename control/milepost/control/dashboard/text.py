"""How values look on a page: nothing in them can hide, turn text around or flood the page."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

# Controls, and what reverses or hides text; written as JSON writes it, so that an edited state stays as it
# was.
_HIDDEN = [
    *(code for code in range(0xA0) if (code < 0x20 or code >= 0x7F) and code not in (9, 10)),
    *(0xAD, 0x061C, 0x200B, 0x200E, 0x200F, 0xFEFF),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
]
_VISIBLE = {code: f"\\u{code:04x}" for code in _HIDDEN if code != 13}
_UNITS = ("B", "KB", "MB", "GB", "TB")


def visible(value: Any) -> Any:
    """Return text with what cannot be seen in it written out; anything else as it is."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    # What no encoding can write (a lone surrogate) is written out, too.
    return value.encode(errors="backslashreplace").decode().translate(_VISIBLE)


def cut(value: str, length: int) -> str:
    """Return *value*, or its beginning and how much longer it is."""
    if len(value) <= length:
        return value
    return f"{value[:length]}… ({len(value):,} characters)"


def pretty(value: Any) -> str:
    """Write a value as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def moment(value: int | float | datetime | None) -> datetime | None:
    """Read a time: milliseconds since 1970, or a datetime."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromtimestamp(value / 1000, UTC) if value else None


def ago(value: int | float | datetime | None) -> str:
    """Say how long ago a time was, in the largest unit that fits."""
    at = moment(value)
    if at is None:
        return "–"
    seconds = (datetime.now(UTC) - at).total_seconds()
    if seconds < -1:
        return f"in {_rough(-seconds)}"
    return "just now" if seconds < 1 else f"{_rough(seconds)} ago"


def exact(value: int | float | datetime | None) -> str:
    """Write a time to the second."""
    at = moment(value)
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(value: int | float | datetime | None) -> str:
    """Write a time for programs."""
    at = moment(value)
    return "" if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds")


def duration(seconds: float | None) -> str:
    """Write a length of time with two or three figures that matter."""
    if seconds is None:
        return "–"
    if seconds <= 0:
        return "0 s"
    if seconds < 0.001:
        return "< 1 ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} m" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def size(number: float) -> str:
    """Write a number of bytes."""
    for unit in _UNITS[:-1]:
        if number < 1000:
            return (
                f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
            )
        number /= 1000
    return f"{number:.1f} {_UNITS[-1]}"


def count(number: float | None) -> str:
    """Write a number with separators."""
    return "–" if number is None else f"{number:,}"


def amount(value: float) -> str:
    """Write an amount of money, tokens or whatever is spent."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def first_line(value: Any, length: int = 160) -> str:
    """Return the first line of a text, cut."""
    line = str(value or "").strip().split("\n", 1)[0]
    return line if len(line) <= length else f"{line[:length]}…"


def _rough(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


FILTERS = {
    "ago": ago, "exact": exact, "iso": iso, "duration": duration, "size": size, "number": count,
    "amount": amount, "first_line": first_line, "cut": cut,
}  # fmt: skip
