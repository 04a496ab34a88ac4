"""How runs and checkpoints look in a terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from milepost.checkpointing import CheckpointMetadata
from milepost.tasks import Head, RunStatus

COLOURS = {
    RunStatus.COMPLETED: "green",
    RunStatus.FAILED: "red",
    RunStatus.CANCELLED: "dim",
    RunStatus.RUNNING: "cyan",
    RunStatus.PAUSED: "yellow",
    RunStatus.SCHEDULED: "yellow",
}


def print_json(value: Any) -> None:
    """Print one JSON document on one line."""
    click.echo(json.dumps(value, default=str))


def as_json(head: Head) -> dict[str, Any]:
    """Return what programs want to know of a head: no nonces, errors as objects."""
    shown = asdict(head)
    for private in ("nonce", "last_nonce", "intent", "digest", "at", "owner"):
        del shown[private]
    return {**shown, "error": head.failure}


def coloured(status: RunStatus) -> str:
    """Return *status* in its colour."""
    colour = COLOURS.get(status, "default")
    return f"[{colour}]{status}[/]"


def ago(at: datetime) -> str:
    """Say how long ago *at* was, in the largest unit that fits."""
    seconds = max(0.0, (datetime.now(UTC) - at).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit} ago"
    return f"{seconds:.0f}s ago"


def failure_line(head: Head) -> str:
    """Return the last failure in one line; empty if there was none."""
    failure = head.failure
    if failure is None:
        return ""
    first = str(failure.get("message", "")).split("\n", 1)[0]
    return f"{failure.get('type')}: {first}"


def runs_table(heads: Iterable[Head]) -> Table:
    """Return a table of runs."""
    table = Table("run", "pipeline", "status", "stage", "done", "tries", "started", "error")
    for head in heads:
        table.add_row(
            escape(head.run_id),
            escape(head.pipeline),
            coloured(head.status),
            escape(head.stage),
            f"{head.stages_done}/{head.stages_total}",
            str(head.attempt),
            ago(head.created),
            escape(failure_line(head)[:60]),
        )
    return table


def print_run(console: Console, head: Head) -> None:
    """Print all that a person wants to know of one run."""
    table = Table.grid(padding=(0, 2))
    rows = {
        "run": escape(head.run_id),
        "pipeline": escape(f"{head.pipeline} (version {head.version})"),
        "status": coloured(head.status),
        "done": f"{head.stages_done} of {head.stages_total} stages",
        "stage due": escape(head.stage) or "-",
        "tries": f"{head.attempt} ({head.failures} failed, {head.crashes + head.suspicions} crashed)",
        "worker": escape(head.worker) or "-",
        "started": ago(head.created),
        "tags": escape(", ".join(head.tags)) or "-",
    }
    for name, value in rows.items():
        table.add_row(f"[dim]{name}[/]", value)
    console.print(table)
    if head.failure:
        console.print(f"[red]{escape(failure_line(head))}[/]")
        if trace := head.failure.get("traceback"):
            console.print(escape(str(trace)), style="dim")


def checkpoints_table(history: Iterable[CheckpointMetadata]) -> Table:
    """Return a table of a run's checkpoints."""
    table = Table(
        "sequence", "timeline", "stage", "status", "try", "token", "worker", "seconds", "id"
    )
    for metadata in history:
        took = ""
        if metadata.started_at is not None:
            took = f"{(metadata.created_at - metadata.started_at).total_seconds():.2f}"
        table.add_row(
            str(metadata.sequence),
            str(metadata.timeline),
            escape(metadata.stage or "(input)" if metadata.status != "cancelled" else "-"),
            metadata.status,
            str(metadata.attempt) if metadata.stage else "",
            str(metadata.token),
            escape(metadata.worker or ""),
            took,
            metadata.checkpoint_id[:12],
        )
    return table
