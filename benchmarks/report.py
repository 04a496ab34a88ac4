"""The findings as one table, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .finding import Finding


def show(findings: Sequence[Finding], machine: Mapping[str, str]) -> None:
    """Print one table."""
    caption = " · ".join(f"{key} {value}" for key, value in machine.items())
    table = Table(title="Milepost's benchmarks", caption=caption, expand=True)
    table.add_column("benchmark")
    table.add_column("what", ratio=3)
    for heading in ("median", "least – greatest", "n", "goal", "met"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("of which", ratio=3)
    before = ""
    for row in findings:
        if before and row.benchmark != before:
            table.add_section()
        table.add_row(
            "" if row.benchmark == before else row.benchmark,
            row.what,
            f"{row.median:.2f} {row.unit}".strip(),
            f"{row.low:.2f} – {row.high:.2f}",
            str(row.n),
            row.goal,
            {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[row.is_met],
            row.note,
        )
        before = row.benchmark
    console = Console()
    if console.width < 120 and not console.is_terminal:
        console = Console(width=150)
    console.print(table)


def write(path: Path, findings: Sequence[Finding], machine: Mapping[str, str]) -> None:
    """Write the same as JSON."""
    rows = [{**asdict(row), "met": row.is_met} for row in findings]
    path.write_text(json.dumps({"machine": dict(machine), "findings": rows}, indent=2) + "\n")
