"""``milepost queues``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from milepost.worker.fleet import Fleet, QueueReport

from .display import plain_table, print_json
from .loading import load_app
from .options import app_option, json_option


@click.group(invoke_without_command=True)
@app_option
@json_option
@click.pass_context
def queues(context: click.Context, app_name: str | None, as_lines: bool) -> None:
    """Show the queues: what waits, for how long, and who takes from them. Pause them, and resume them."""
    if context.invoked_subcommand is not None:
        return
    found = Fleet(load_app(app_name)).queues()
    if as_lines:
        for queue in found:
            print_json(asdict(queue))
    elif found:
        Console().print(_table(found))
    else:
        click.echo("No queues: no worker has reported itself, and no application is named (-A).")


def _add(name: str, do: Callable[[Fleet, str, str], object], does: str) -> None:
    @queues.command(name, help=does)
    @click.argument("name")
    @app_option
    @json_option
    def command(name: str, app_name: str | None, as_lines: bool) -> None:
        app = load_app(app_name)
        fleet = Fleet(app)
        do(fleet, name, app.lifecycle.by)
        _show(fleet, name, as_lines)


_add(
    "pause",
    Fleet.pause_queue,
    "Let no worker take from queue NAME; what was taken is finished, and runs wait.",
)
_add("resume", Fleet.resume_queue, "Let workers take from queue NAME again.")


def _show(fleet: Fleet, name: str, as_lines: bool) -> None:
    paused = name in fleet.paused_queues()
    served_by = sum(name in worker.queues for worker in fleet.workers() if worker.state == "up")
    if as_lines:
        print_json({"name": name, "paused": paused, "workers": served_by})
    else:
        who = f"{served_by} {'worker takes' if served_by == 1 else 'workers take'} from it"
        if not served_by:
            who = "no worker takes from it now; `milepost queues` shows those in use"
        elif paused:
            who += " when it is resumed"
        click.echo(f"{name} is paused ({who})" if paused else f"{name}: {who}")


def _table(found: Iterable[QueueReport]) -> Table:
    table = plain_table("queue", "waiting", "oldest", "running", "capacity", "workers", "paused by")
    for queue in found:
        age = "?" if queue.age_seconds is None else f"{queue.age_seconds:.0f} s"
        table.add_row(
            escape(queue.name),
            "?" if queue.depth is None else str(queue.depth),
            age if queue.depth != 0 else "-",
            str(queue.running),
            str(queue.capacity),
            str(queue.workers) if queue.workers else "[red]0[/]",
            f"[yellow]{escape(queue.paused_by or '?')}[/]" if queue.paused else "-",
        )
    return table
