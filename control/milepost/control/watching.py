"""Following a run until it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from milepost.tasks import Head, Run, RunStatus

from .display import failure_line

_PAUSE_SECONDS = 0.05


def changes(run: Run, timeout: float | None = None) -> Iterator[Head]:
    """Yield the run's head now and whenever it has changed, until the run has ended.

    Raises:
        TimeoutError: It has not ended in time.
    """
    end = None if timeout is None else time.monotonic() + timeout
    last = None
    while True:
        head = run.head
        if head != last:
            yield head
            last = head
        if head.status.ended:
            return
        if end is not None and time.monotonic() > end:
            raise TimeoutError(f"Run {run.id} is {head.status} after {timeout:g} s; it goes on.")
        time.sleep(_PAUSE_SECONDS)


def progress_bar(console: Console) -> Progress:
    """Return a bar of stages."""
    return Progress(
        TextColumn("{task.description}", markup=True),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def describe(head: Head) -> str:
    """Say in a few words what the run is at."""
    if head.status is RunStatus.RUNNING:
        again = f" (try {head.attempt})" if head.attempt > 1 else ""
        return f"[cyan]{escape(head.stage)}[/]{again} on {escape(head.worker)}{_far(head)}"
    if head.status.ended:
        return f"[bold]{head.status}[/]"
    return f"{head.status}: {escape(head.stage)}"


def _far(head: Head) -> str:
    if head.stage_progress is None:
        return ""
    done, total = head.stage_progress
    return f": {done:,}" + (f" of {total:,}" if total else "")


def watch(run: Run, console: Console, timeout: float | None = None, alone: str = "") -> Head:
    """Show a progress bar until the run has ended, and return its last head.

    *alone* is said at once if it is not empty: why nobody may come to take the run.
    """
    console.print(f"Run {escape(run.id)}", soft_wrap=True)
    if alone:
        console.print(f"[yellow]{escape(alone)}[/]", soft_wrap=True)
    with progress_bar(console) as bar:
        task = bar.add_task(f"run {run.id}", total=None)
        head = run.head
        for head in changes(run, timeout):
            bar.update(
                task,
                total=head.stages_total,
                completed=head.stages_done,
                description=describe(head),
            )
    if head.failure and head.status is RunStatus.FAILED:
        console.print(f"[red]Stage {escape(head.stage)} failed: {escape(failure_line(head))}[/]")
    return head
