"""The guides, and the pictures in them."""

from __future__ import annotations

import re
from pathlib import Path

from milepost.tasks.transitions import ALLOWED

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


def test_the_guide_has_the_table_of_commands_and_statuses() -> None:
    """As the code has it."""
    guide = (DOCS / "guides" / "operating.md").read_text()
    rows = dict(re.findall(r"^\| ([a-z-]+) \| ((?:[a-z]+, )*[a-z]+) \|$", guide, re.MULTILINE))

    assert rows == {str(c): ", ".join(sorted(allowed)) for c, allowed in ALLOWED.items()}
