"""How runs and checkpoints look in a terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from rich.box import SIMPLE_HEAD
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


_PRIVATE = (
    "nonce", "last_nonce", "intent", "status_before", "due_before", "digest", "at", "owner", "ordinal",
    "suspicions", "trial", "marked", "log_elsewhere", "lane", "kept_at", "fingerprint", "patience_ms",
    "spent_try", "spent_kept",
)  # fmt: skip


def print_json(value: Any) -> None:
    """Print one JSON document on one line."""
    click.echo(json.dumps(value, default=str))


def as_json(head: Head) -> dict[str, Any]:
    """Return what programs want to know of a head: no nonces, errors as objects."""
    shown = asdict(head)
    for private in _PRIVATE:
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


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def runs_table(heads: Iterable[Head]) -> Table:
    """Return a table of runs."""
    shown = [*heads]
    errors = ["error"] if any(head.error for head in shown) else []
    listing = table("status", "done", "pipeline", "stage", "started", *errors)
    for head in shown:
        listing.add_row(
            escape(head.run_id),
            coloured(head.status),
            f"{head.stages_done}/{head.stages_total}",
            escape(head.pipeline),
            escape(head.stage),
            ago(head.created),
            *(escape(_shortened(failure_line(head))) for _ in errors),
        )
    return listing


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
    listing = table(
        "place", "stage", "status", "try", "seconds", "worker", "note", first="checkpoint"
    )
    for metadata in history:
        took = ""
        if metadata.started_at is not None:
            took = f"{(metadata.created_at - metadata.started_at).total_seconds():.2f}"
        listing.add_row(
            metadata.checkpoint_id,
            f"{metadata.timeline}.{metadata.sequence}",
            escape(metadata.stage or "(input)"),
            metadata.status,
            str(metadata.attempt) if metadata.stage else "",
            took,
            escape(metadata.worker or ""),
            escape(metadata.note or ""),
        )
    return listing


def plain_table(*columns: str) -> Table:
    """Return a table of *columns*."""
    made = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in columns:
        made.add_column(name)
    return made


def table(*columns: str, first: str = "run") -> Table:
    """Return a table whose first column is an id: there to be copied, whatever else has to give way."""
    made = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    made.add_column(first, no_wrap=True, min_width=32 if first in ("run", "checkpoint") else 12)
    for name in columns:
        made.add_column(name)
    return made
