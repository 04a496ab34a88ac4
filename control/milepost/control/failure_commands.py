"""Commands about what failed, and about who did what."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from rich.console import Console
from rich.markup import escape

from .display import ago, as_json, failure_line, print_json, table
from .loading import load_app
from .options import app_option, json_option


@click.command()
@app_option
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1_000))
@json_option
def failures(app_name: str | None, limit: int, as_lines: bool) -> None:
    """Show failed runs by the cause they share, and unfinished ones that keep losing their workers."""
    runs = load_app(app_name).runs
    groups, struggling = runs.groups(limit), runs.struggling(limit)
    if as_lines:
        for group in groups:
            print_json(
                {
                    "group": group.group,
                    "count": group.count,
                    "first_at": group.first_at,
                    "last_at": group.last_at,
                    "example": as_json(group.example),
                }
            )
        for head in struggling:
            print_json({"struggling": as_json(head)})
        return
    console = Console()
    shown = table("runs", "pipeline", "stage", "first", "last", "error", first="group")
    for group in groups:
        example = group.example
        shown.add_row(
            group.group or "-",
            f"{group.count:,}",
            escape(example.pipeline),
            escape(example.stage),
            *(
                ago(datetime.fromtimestamp(at / 1000, UTC))
                for at in (group.first_at, group.last_at)
            ),
            escape(failure_line(example)[:200]),
        )
    if groups:
        console.print(shown)
        first = next((group.group for group in groups if group.group), "GROUP")
        console.print(
            f"[dim]One first, and then the others: milepost retry --group {first} --canary 1m[/]",
            soft_wrap=True,
        )
    else:
        console.print("No run has failed.")
    if struggling:
        loops = table("pipeline", "stage", "deaths", "last worker", first="keeps losing its worker")
        for head in struggling:
            deaths = str(head.crashes + head.suspicions)
            loops.add_row(
                escape(head.run_id),
                escape(head.pipeline),
                escape(head.stage),
                deaths,
                escape(head.worker),
            )
        console.print(loops)


@click.command()
@click.argument("run_id", required=False)
@app_option
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def notes(run_id: str | None, app_name: str | None, limit: int, as_lines: bool) -> None:
    """Show who commanded what and when, of a run or of all, newest first."""
    app = load_app(app_name)
    found = app.lifecycle.notes(run_id, limit)
    if as_lines:
        for note in found:
            print_json(
                {
                    "at": note.at,
                    "by": note.by,
                    "command": note.command,
                    "run_id": note.run_id,
                    "detail": note.detail,
                }
            )
        return
    if not found:
        click.echo("Nothing was commanded.")
        return
    shown = table("when (UTC)", "who", "command", "detail")
    for note in found:
        at = datetime.fromtimestamp(note.at / 1000, UTC)
        shown.add_row(
            escape(note.run_id) or "-",
            at.strftime("%Y-%m-%d %H:%M:%S"),
            escape(note.by),
            escape(note.command),
            escape(note.detail),
        )
    Console().print(shown)
