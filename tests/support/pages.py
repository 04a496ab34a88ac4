"""Pages of the documentation whose code is run: sections, and the rows of the coverage table they are for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "coming-from"
_ROWS = re.compile(r"<!-- rows: ([A-Z0-9 -]+) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced piece of a page."""

    language: str
    text: str


@dataclass(slots=True)
class Section:
    """What stands under one heading; its blocks are run in order, in one folder and one namespace."""

    page: str
    title: str
    blocks: list[Block] = field(default_factory=list)
    rows: set[str] = field(default_factory=set)

    @property
    def anchor(self) -> str:
        """How a link names it."""
        return re.sub(r"[^a-z0-9 -]", "", self.title.lower()).strip().replace(" ", "-")

    @property
    def where(self) -> str:
        """Path and anchor, as the coverage table has them."""
        return f"docs/coming-from/{self.page}.md#{self.anchor}"


def sections(path: Path) -> list[Section]:
    """Read a page: ``## `` begins a section, ``<!-- rows: … -->`` names rows it is for."""
    found: list[Section] = []
    fence: list[str] | None = None
    language = ""
    for line in path.read_text().splitlines():
        if fence is not None:
            if line == "```":
                found[-1].blocks.append(Block(language, "\n".join(fence)))
                fence = None
            else:
                fence.append(line)
        elif line.startswith("## "):
            found.append(Section(path.stem, line[3:].strip()))
        elif line.startswith("```") and found:
            language, fence = line[3:].strip(), []
        elif rows := _ROWS.fullmatch(line.strip()):
            found[-1].rows.update(rows[1].split())
    return found


def all_sections() -> list[Section]:
    """Return the sections of all pages."""
    return [section for path in sorted(FOLDER.glob("*.md")) for section in sections(path)]
