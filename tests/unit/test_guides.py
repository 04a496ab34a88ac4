"""The guides, and the pictures in them."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
LARGEST = 150_000
_PICTURE = re.compile(r"!\[[^\]]+\]\(\.\./images/([^)]+)\)")


def test_pictures_are_there_and_small_and_used() -> None:
    """Each has a text for those who do not see it."""
    guides = [path.read_text() for path in (DOCS / "guides").glob("*.md")]
    shown = {name for guide in guides for name in _PICTURE.findall(guide)}
    there = {path.name: path.stat().st_size for path in (DOCS / "images").iterdir()}

    assert shown
    assert shown == there.keys()
    assert {name for name, size in there.items() if size > LARGEST} == set()
