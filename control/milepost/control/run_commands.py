"""Commands about runs."""

from __future__ import annotations

import json
import time
from typing import Any

import click
from rich.console import Console

from milepost.checkpointing import Misconfigured
from milepost.tasks import Conflict, Head, Run, RunQuery, RunStatus, UnknownRun
from milepost.tasks.duration import seconds

from .display import as_json, checkpoints_table, print_json, print_run, runs_table
from .loading import load_app
from .options import app_option, json_option
from .watching import changes
from .watching import watch as watch_run

STATUSES = click.Choice([status.value for status in RunStatus])


@click.command()
@click.argument("pipeline")
@click.argument("state", required=False)
@app_option
@click.option("--run-id", help="A name of your own; the same one again returns the same run.")
@click.option("--tag", "tags", multiple=True, help="For listing; may be given several times.")
@click.option("--delay", help="Begin this long from now, such as 10m.")
@click.option("--watch", "follow", is_flag=True, help="Follow the run until it ends.")
@json_option
def start(
    pipeline: str,
    state: str | None,
    app_name: str | None,
    run_id: str | None,
    tags: tuple[str, ...],
    delay: str | None,
    follow: bool,
    as_lines: bool,
) -> None:
    """Start a run of PIPELINE with STATE, a JSON document."""
    if app_name is None:
        raise Misconfigured("To start a run, name the application: -A MODULE or MILEPOST_APP.")
    app = load_app(app_name)
    run = app.start(pipeline, parsed(state), run_id=run_id, tags=tags, delay=delay)
    if follow:
        _follow(run, None, as_lines)
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
@click.option("--status", "wanted", type=STATUSES)
@click.option("--pipeline")
@click.option("--tag")
@click.option("--since", help="Started within this long, such as 1h.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def runs(
    app_name: str | None,
    wanted: str | None,
    pipeline: str | None,
    tag: str | None,
    since: str | None,
    limit: int,
    as_lines: bool,
) -> None:
    """List runs, youngest first."""
    query = RunQuery(
        status=frozenset({RunStatus(wanted)} if wanted else ()),
        pipeline=pipeline,
        tag=tag,
        since_ms=None if since is None else int((time.time() - seconds(since)) * 1000),
    )
    page = load_app(app_name).runs.find(query, limit=limit)
    if as_lines:
        for head in page.items:
            print_json(as_json(head))
        return
    console = Console()
    console.print(runs_table(page.items))
    if page.cursor is not None:
        console.print(f"[dim]The {limit} youngest; more with --limit.[/]")


@click.command()
@click.argument("run_id")
@app_option
@click.option("--timeout", help="Give up watching after this long, such as 10m.")
@json_option
def watch(run_id: str, app_name: str | None, timeout: str | None, as_lines: bool) -> None:
    """Follow a run until it ends; exit code 1 if it does not end well."""
    app = load_app(app_name)
    _follow(app.run(app.lifecycle.head(run_id).run_id), timeout, as_lines)


@click.command()
@click.argument("run_ids", nargs=-1)
@app_option
@click.option(
    "--status", "wanted", type=click.Choice(["failed", "scheduled"]), help="All of these."
)
@click.option("--pipeline", help="With --status: only this pipeline.")
@click.option("--tag", help="With --status: only this tag.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@json_option
def retry(
    run_ids: tuple[str, ...],
    app_name: str | None,
    wanted: str | None,
    pipeline: str | None,
    tag: str | None,
    dry_run: bool,
    as_lines: bool,
) -> None:
    """Let failed runs go on at the stage that failed."""
    app = load_app(app_name)
    if bool(run_ids) == bool(wanted):
        raise Misconfigured("Name runs, or choose them with --status.")
    ids = [*run_ids]
    cursor: str | None = None
    while wanted:
        query = RunQuery(status=frozenset({RunStatus(wanted)}), pipeline=pipeline, tag=tag)
        page = app.runs.find(query, cursor=cursor, limit=500)
        ids += [head.run_id for head in page.items]
        if (cursor := page.cursor) is None:
            break
    done = []
    for run_id in ids:
        try:
            if not dry_run:
                app.lifecycle.retry(run_id)
        except (Conflict, UnknownRun):
            if not wanted:
                raise
            # It has moved on since it was listed.
            continue
        done.append(run_id)
    if as_lines:
        print_json({"retried": 0 if dry_run else len(done), "found": len(ids), "run_ids": done})
    else:
        verb = "would be retried" if dry_run else "retried"
        click.echo(f"{len(done)} {'run' if len(done) == 1 else 'runs'} {verb}")


@click.command()
@click.argument("run_ids", nargs=-1, required=True)
@app_option
@json_option
def cancel(run_ids: tuple[str, ...], app_name: str | None, as_lines: bool) -> None:
    """End runs; a stage in flight is told, and its result refused."""
    app = load_app(app_name)
    for run_id in run_ids:
        app.lifecycle.cancel(run_id)
        if as_lines:
            print_json(as_json(app.lifecycle.head(run_id)))
        else:
            click.echo(f"{run_id} cancelled")


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


def _follow(run: Run, timeout: str | None, as_lines: bool) -> None:
    limit = None if timeout is None else seconds(timeout)
    head: Head | None = None
    if as_lines:
        for head in changes(run, limit):
            print_json(as_json(head))
    else:
        head = watch_run(run, Console(), limit)
    if head is not None and head.status is not RunStatus.COMPLETED:
        raise SystemExit(1)
