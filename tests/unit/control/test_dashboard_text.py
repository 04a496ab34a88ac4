"""How values look on the dashboard's pages."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from markupsafe import Markup

from milepost.control.dashboard.text import (
    ago,
    amount,
    cut,
    duration,
    first_line,
    pretty,
    size,
    visible,
)


def test_what_hides_or_turns_text_is_written_out() -> None:
    """Every control and every mark of direction; accents, emoji and joiners stay."""
    hidden = [
        chr(code)
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in ("Cc", "Zl", "Zp")
        or unicodedata.bidirectional(chr(code))
        in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    ]
    kept = {"\n", "\t", "\r"}

    assert [ascii(c) for c in hidden if c not in kept and visible(c) == c] == []
    for text in ("Zoë", "日本", "👩\u200d🚀", "नमस्ते", "a\tb\n"):
        assert visible(text) == text


def test_a_state_that_is_shown_can_be_read_again() -> None:
    state = {"a": "\u202ex\u0000\u2066", "b": ["\u200b", 1.5, None]}

    assert json.loads(visible(pretty(state))) == state


def test_a_lone_surrogate_is_written_out() -> None:
    assert visible("\ud800") == "\\ud800"


def test_markup_and_other_values_are_left_alone() -> None:
    assert visible(Markup("<b>\u202e</b>")) == Markup("<b>\u202e</b>")
    assert visible(None) is None
    assert visible(7) == 7


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"), (-1, "0 s"), (0, "0 s"), (0.0004, "< 1 ms"), (0.25, "250 ms"), (3.14, "3.1 s"),
        (61, "1 m 01 s"), (3600, "1 h 00 m"), (172_800, "2 d 0 h"), (1e9, "11574 d 1 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_times_are_told_from_now() -> None:
    now = datetime.now(UTC)

    assert ago(now) == "just now"
    assert ago(now - timedelta(minutes=5)) == "5 m ago"
    assert ago((now - timedelta(days=3)).timestamp() * 1000) == "3 d ago"
    assert ago(now + timedelta(hours=2, seconds=1)) == "in 2 h"
    assert ago(0) == ago(None) == "–"


def test_sizes_amounts_and_cuts() -> None:
    assert [size(n) for n in (0, 999, 1500, 250_000, 5e6, 5e15)] == [
        "0 B", "999 B", "1.5 KB", "250 KB", "5.0 MB", "5000.0 TB",
    ]  # fmt: skip
    assert [amount(n) for n in (0, 1200, 0.0151, 1e15)] == [
        "0",
        "1,200",
        "0.0151",
        "1,000,000,000,000,000",
    ]
    assert cut("abc", 3) == "abc"
    assert cut("a" * 1_000_000, 3) == "aaa… (1,000,000 characters)"
    assert first_line("one\ntwo") == "one"
