"""Commands about runs."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any, TextIO

import click
from rich.console import Console

from milepost.checkpointing import Misconfigured
from milepost.tasks import Head, Milepost, Run, RunStatus, UnknownRun
from milepost.tasks.duration import seconds
from milepost.tasks.order import StartOptions
from milepost.worker.fleet import Fleet

from .display import as_json, checkpoints_table, print_json, print_run, runs_table
from .loading import load_app
from .operate_commands import amounts_of
from .options import app_option, json_option
from .query_options import moment, query_of, query_options
from .watching import changes
from .watching import watch as watch_run

_BATCH = 1_000
"""So many lines are read and started at a time."""


@click.command()
@click.argument("pipeline")
@click.argument("state", required=False)
@app_option
@click.option("--run-id", help="A name of your own; the same one again returns the same run.")
@click.option("--tag", "tags", multiple=True, help="For listing; may be given several times.")
@click.option("--delay", help="Begin this long from now, such as 10m.")
@click.option("--at", help="Begin at this time, such as 2030-01-31T18:00+01:00.")
@click.option("--priority", type=click.IntRange(0, 9), help="In place of those of the stages.")
@click.option("--tenant", help="On whose behalf.")
@click.option("--budget", multiple=True, metavar="UNIT=LIMIT", help="What it may spend: usd=5.")
@click.option("--watch", "follow", is_flag=True, help="Follow the run until it ends.")
@click.option(
    "--states",
    type=click.File(),
    metavar="FILE",
    help="A run for each line of FILE (- is standard input), a JSON document each.",
)
@json_option
def start(
    pipeline: str,
    state: str | None,
    app_name: str | None,
    run_id: str | None,
    tags: tuple[str, ...],
    delay: str | None,
    at: str | None,
    priority: int | None,
    tenant: str | None,
    budget: tuple[str, ...],
    follow: bool,
    states: TextIO | None,
    as_lines: bool,
) -> None:
    """Start a run of PIPELINE with STATE, a JSON document; or one for each line of a file."""
    if app_name is None:
        raise Misconfigured("To start a run, name the application: -A MODULE or MILEPOST_APP.")
    app = load_app(app_name)
    options: StartOptions = {
        "tags": tags,
        "delay": delay,
        "at": None if at is None else moment(at),
        "priority": priority,
        "tenant": tenant,
        "budget": amounts_of(budget),
    }
    if states is not None:
        if state is not None or run_id is not None or follow:
            raise Misconfigured("With --states there is no STATE, --run-id or --watch.")
        _start_many(app, pipeline, states, options, as_lines)
        return
    run = app.start(pipeline, parsed(state), run_id=run_id, **options)
    if follow:
        _follow(app, run, None, as_lines)
    elif as_lines:
        print_json(as_json(run.head))
    else:
        click.echo(run.id)


@click.command()
@click.argument("run_id")
@app_option
@json_option
def status(run_id: str, app_name: str | None, as_lines: bool) -> None:
    """Show one run."""
    head = load_app(app_name).lifecycle.head(run_id)
    if as_lines:
        print_json(as_json(head))
    else:
        print_run(Console(), head)


@click.command()
@app_option
@query_options
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def runs(app_name: str | None, limit: int, as_lines: bool, **options: Any) -> None:
    """List runs, youngest first."""
    query, store = query_of(options), load_app(app_name).runs
    cursor: str | None = None
    found: list[Head] = []
    while len(found) < limit:
        page = store.find(query, cursor=cursor, limit=limit - len(found))
        found += page.items
        if (cursor := page.cursor) is None:
            break
    if as_lines:
        for head in found:
            print_json(as_json(head))
        return
    if not found:
        which = "No run" if query.is_everything else "No run that meets these conditions"
        click.echo(f"{which} is in {store.location}.")
        return
    console = Console()
    console.print(runs_table(found))
    if cursor is not None:
        console.print(f"[dim]The {limit} youngest; more with --limit.[/]")


@click.command()
@click.argument("run_id")
@app_option
@click.option("--timeout", help="Give up watching after this long, such as 10m.")
@json_option
def watch(run_id: str, app_name: str | None, timeout: str | None, as_lines: bool) -> None:
    """Follow a run until it ends; exit code 1 if it does not end well."""
    app = load_app(app_name)
    _follow(app, app.run(app.lifecycle.head(run_id).run_id), timeout, as_lines)


@click.command()
@click.argument("run_id")
@app_option
@click.option("--timeout", help="Give up waiting after this long, such as 10m.")
def result(run_id: str, app_name: str | None, timeout: str | None) -> None:
    """Wait until a run has completed and print its last state as JSON."""
    app = load_app(app_name)
    run = app.run(app.lifecycle.head(run_id).run_id)
    run.wait(None if timeout is None else seconds(timeout))
    print_json(app.checkpoints.get(run.head.key).state)


@click.command()
@click.argument("run_id")
@app_option
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--state", "show_state", is_flag=True, help="Print the current state as JSON.")
@json_option
def checkpoints(
    run_id: str, app_name: str | None, limit: int, show_state: bool, as_lines: bool
) -> None:
    """List the checkpoints of a run, newest first."""
    app = load_app(app_name)
    if show_state:
        print_json(app.checkpoints.get(app.lifecycle.head(run_id).key).state)
        return
    history = app.checkpoints.list_checkpoints(run_id, limit=limit)
    if not history:
        raise UnknownRun(f"No checkpoint of run {run_id} in {app.checkpoints.store.location}.")
    if as_lines:
        for metadata in history:
            click.echo(metadata.model_dump_json())
    else:
        Console().print(checkpoints_table(history))


def parsed(state: str | None) -> Any:
    try:
        return {} if state is None else json.loads(state)
    except ValueError as error:
        raise Misconfigured(f"The state is no JSON: {error}.") from None


def _start_many(
    app: Milepost, pipeline: str, states: TextIO, options: StartOptions, as_lines: bool
) -> None:
    lines = enumerate(states, 1)
    while batch := [*islice(lines, _BATCH)]:
        given = []
        for number, line in batch:
            try:
                given.append(json.loads(line))
            except ValueError as error:
                raise Misconfigured(f"Line {number} is no JSON: {error}.") from None
        for run in app.start_many(pipeline, given, **options):
            if as_lines:
                print_json({"run_id": run.id})
            else:
                click.echo(run.id)


def _without_workers(app: Milepost, head: Head) -> str:
    """Say so if no worker takes from the queue on which the run waits."""
    if head.status is not RunStatus.QUEUED:
        return ""
    up = [worker for worker in Fleet(app).workers() if worker.state == "up"]
    if any(head.queue in worker.queues for worker in up):
        return ""
    start_one = f"start one with milepost worker -A MODULE -Q {head.queue}"
    return f"No worker takes from queue {head.queue}: {start_one}."


def _follow(app: Milepost, run: Run, timeout: str | None, as_lines: bool) -> None:
    limit = None if timeout is None else seconds(timeout)
    head: Head | None = None
    if as_lines:
        for head in changes(run, limit):
            print_json(as_json(head))
    else:
        head = watch_run(run, Console(), limit, _without_workers(app, run.head))
    if head is not None and head.status is not RunStatus.COMPLETED:
        raise SystemExit(1)
