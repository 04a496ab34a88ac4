"""``milepost workers`` and ``milepost drain``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from milepost.checkpointing import Misconfigured
from milepost.tasks.duration import seconds
from milepost.worker.fleet import Fleet, WorkerReport

from .display import plain_table, print_json
from .loading import load_app
from .options import app_option, json_option

_COLOURS = {"up": "green", "draining": "yellow", "silent": "red"}
_ASK_SECONDS = 0.2


@click.command()
@app_option
@json_option
def workers(app_name: str | None, as_lines: bool) -> None:
    """Show the workers, and the runs whose stages each of them runs."""
    found = Fleet(load_app(app_name)).workers()
    if as_lines:
        for worker in found:
            print_json(asdict(worker))
    elif found:
        Console().print(_table(found))
    else:
        click.echo("No worker has reported itself.")


@click.command()
@click.argument("names", nargs=-1, metavar="[WORKER]...")
@app_option
@click.option("--all", "everybody", is_flag=True, help="All workers that are up.")
@click.option(
    "--timeout", default="2m", show_default=True, help="How long to wait for them to leave."
)
@json_option
def drain(
    names: tuple[str, ...], app_name: str | None, everybody: bool, timeout: str, as_lines: bool
) -> None:
    """Let workers leave: they take nothing more, and hand back what they cannot finish in their grace period.

    Waits until they have left. Exits with 3 if no such worker is up, and with 6 if one is still there after
    the timeout; it leaves later, then.
    """
    if bool(names) == everybody:
        raise Misconfigured("Name the workers that are to leave, or all of them with --all.")
    limit = seconds(timeout)
    app = load_app(app_name)
    fleet = Fleet(app)
    if everybody:
        names = tuple(sorted({w.name for w in fleet.workers() if w.state != "silent"}))
    if not names and not as_lines:
        click.echo("No worker is up.")
    told = [worker for name in names for worker in fleet.drain(name, app.lifecycle.by)]
    left = _wait(fleet, told, limit)
    for worker in told:
        gone = worker.key in left
        if as_lines:
            print_json({"name": worker.name, "pid": worker.pid, "left": gone})
        else:
            click.echo(
                f"{worker.name} (pid {worker.pid}) {'has left' if gone else 'is still there'}"
            )
    if len(left) < len(told):
        raise TimeoutError(
            f"{len(told) - len(left)} of {len(told)} workers have not left in {timeout}."
        )


def _wait(fleet: Fleet, told: list[WorkerReport], limit_seconds: float) -> set[str]:
    """Wait until those that were told have left, and return the keys of those that have."""
    end = time.monotonic() + limit_seconds
    while True:
        # What came in the place of one that has left has another time of start.
        there = {(w.key, w.started_at) for w in fleet.workers() if w.state != "silent"}
        left = {worker.key for worker in told if (worker.key, worker.started_at) not in there}
        if len(left) == len(told) or time.monotonic() > end:
            return left
        time.sleep(_ASK_SECONDS)


def _table(found: Iterable[WorkerReport]) -> Table:
    table = plain_table("worker", "pid", "state", "pool", "queues", "pipelines", "holds")
    for worker in found:
        pipelines = (f"{name} {version}" for name, version in worker.versions.items())
        table.add_row(
            escape(worker.name),
            str(worker.pid),
            f"[{_COLOURS[worker.state]}]{worker.state}[/]",
            f"{escape(worker.pool)} {worker.concurrency}",
            escape(", ".join(worker.queues)),
            escape(", ".join(pipelines)),
            escape(", ".join(worker.holding)) or "-",
        )
    return table
