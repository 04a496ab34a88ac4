"""Commands that change runs: on the runs that are named, or on all that a query finds."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import click
from rich.console import Console

from milepost.checkpointing import Misconfigured
from milepost.tasks import Command, Milepost, RunQuery, RunStatus, Summary
from milepost.tasks.duration import seconds

from .display import as_json, print_json
from .loading import load_app
from .options import app_option, json_option
from .query_options import query_of, query_options

_BULK = (
    click.option("--dry-run", is_flag=True, help="Only count."),
    click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="So many a second."),
    click.option("--limit", type=click.IntRange(1), help="So many at most, the youngest first."),
    click.option("--yes", is_flag=True, help="Every run is meant, if the query has no condition."),
)


def _operating(command: Command) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a function that turns its own options into the arguments of *command*."""

    def make(function: Callable[..., dict[str, Any]]) -> click.Command:
        def run(
            run_ids: tuple[str, ...], app_name: str | None, as_lines: bool, **options: Any
        ) -> None:
            query = query_of(options)
            bulk = {name: options.pop(name) for name in ("dry_run", "rate", "limit", "yes")}
            canary = options.pop("canary", None)
            arguments = function(**options)
            app = load_app(app_name)
            if run_ids:
                if query != RunQuery() or bulk["dry_run"] or canary:
                    raise Misconfigured("Name runs, or choose them by a query; not both.")
                _each(app, command, run_ids, arguments, as_lines)
                return
            if query == RunQuery() and not (bulk["yes"] or bulk["dry_run"]):
                raise Misconfigured(
                    "Name runs, or choose them with --status, --pipeline, --stage, --group, --tag, "
                    "--tenant, --since or --until; every run: --yes."
                )
            if canary is not None and not bulk["dry_run"]:
                _canary(app, query, seconds(canary), as_lines)
            _many(app, command, query, arguments, bulk, as_lines)

        for option in (*_BULK[::-1], json_option, app_option):
            run = option(run)
        run = query_options(run)
        # Where click's decorators gather options; it has no other way to join those of two functions.
        options = [
            *getattr(run, "__click_params__", []),
            *getattr(function, "__click_params__", []),
        ]
        setattr(run, "__click_params__", options)  # noqa: B010
        run = click.argument("run_ids", nargs=-1)(run)
        return click.command(command, help=function.__doc__)(run)

    return make


@_operating(Command.RETRY)
@click.option(
    "--canary",
    metavar="DURATION",
    help="First retry the youngest of them, and the others only if it gets past its stage in this time.",
)
def retry() -> dict[str, Any]:
    """Let failed runs go on at the stage that failed, and scheduled ones now."""
    return {}


@_operating(Command.RESUME)
def resume() -> dict[str, Any]:
    """Let paused runs go on."""
    return {}


@_operating(Command.PAUSE)
def pause() -> dict[str, Any]:
    """Stop runs before their next stage; stages that run are let finish."""
    return {}


@_operating(Command.CANCEL)
def cancel() -> dict[str, Any]:
    """End runs; a stage in flight is told, and its result refused."""
    return {}


@_operating(Command.REWIND)
@click.option("--to", "stage", metavar="STAGE", help="The stage to go on at.")
@click.option("--checkpoint", "checkpoint_id", metavar="ID", help="The commit to go on from.")
def rewind(stage: str | None, checkpoint_id: str | None) -> dict[str, Any]:
    """Let runs go on from before a stage, or from a checkpoint, with the state they had there."""
    return {"stage": stage, "checkpoint_id": checkpoint_id}


@_operating(Command.SKIP)
def skip() -> dict[str, Any]:
    """Let runs go on behind the stage due, with the state it would have got."""
    return {}


@_operating(Command.EDIT)
@click.option("--patch", help="A JSON merge patch: fields to set, null to remove.")
@click.option("--state", help="A whole state, as JSON.")
def edit(patch: str | None, state: str | None) -> dict[str, Any]:
    """Change the state that the stage due gets; failed runs are then to be retried."""
    if (patch is None) == (state is None):
        raise Misconfigured("An edit takes either --patch or --state.")
    name, text = ("patch", patch) if patch is not None else ("state", state)
    try:
        return {name: json.loads(text or "")}
    except ValueError as error:
        raise Misconfigured(f"The {name} is no JSON: {error}.") from None


@_operating(Command.TOP_UP)
@click.option("--by", "amounts", multiple=True, required=True, metavar="UNIT=AMOUNT")
def top_up(amounts: tuple[str, ...]) -> dict[str, Any]:
    """Raise limits of budgets; runs that were paused for them are then to be resumed."""
    return {"amounts": amounts_of(amounts)}


@_operating(Command.DELETE)
def delete() -> dict[str, Any]:
    """Forget runs that have ended or are paused, with their checkpoints."""
    return {}


@click.command()
@click.argument("run_id")
@click.option("--at", "stage", help="Begin at this stage; by default at the one due.")
@click.option("--run-id", "as_run", help="A name for the new run.")
@app_option
@json_option
def fork(
    run_id: str, stage: str | None, as_run: str | None, app_name: str | None, as_lines: bool
) -> None:
    """Start another run from what this one had before a stage."""
    app = load_app(app_name)
    new = app.lifecycle.fork(run_id, stage, as_run=as_run)
    if as_lines:
        print_json(as_json(app.lifecycle.head(new)))
    else:
        click.echo(new)


def amounts_of(pairs: tuple[str, ...]) -> dict[str, float]:
    """Read amounts by unit.

    Raises:
        Misconfigured: One is not of the shape ``unit=amount``.
    """
    amounts = {}
    for pair in pairs:
        unit, _, amount = pair.partition("=")
        try:
            amounts[unit] = float(amount)
        except ValueError:
            raise Misconfigured(f"{pair!r} is no amount: expected one such as usd=5.") from None
    return amounts


def _each(
    app: Milepost,
    command: Command,
    run_ids: tuple[str, ...],
    arguments: dict[str, Any],
    as_lines: bool,
) -> None:
    for run_id in run_ids:
        getattr(app.lifecycle, command.replace("-", "_"))(run_id, **arguments)
        if not as_lines:
            click.echo(f"{run_id} {command.done}")
        elif command is Command.DELETE:
            print_json({"run_id": run_id, "deleted": True})
        else:
            print_json(as_json(app.lifecycle.head(run_id)))


def _many(
    app: Milepost,
    command: Command,
    query: RunQuery,
    arguments: dict[str, Any],
    bulk: dict[str, Any],
    as_lines: bool,
) -> None:
    console = Console(stderr=True)
    with console.status("") as status:

        def show(summary: Summary) -> None:
            status.update(f"{summary.done:,} {command.done}")

        summary = app.bulk.apply(
            command,
            query,
            arguments=arguments,
            dry_run=bulk["dry_run"],
            every_run=bulk["yes"],
            rate_per_second=bulk["rate"],
            limit=bulk["limit"],
            watch=show,
        )
    if as_lines:
        print_json(asdict(summary))
        return
    verb = "would be" if summary.dry_run else "were" if summary.done != 1 else "was"
    click.echo(f"{summary.done:,} {'run' if summary.done == 1 else 'runs'} {verb} {command.done}.")
    if summary.refused:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in summary.refused.items())
        click.echo(f"Refused: {kinds}. For example: {summary.examples[0]}", err=True)


def _canary(app: Milepost, query: RunQuery, timeout: float, as_lines: bool) -> None:
    """Retry one run and wait until it has got past the stage that failed; end here if it has not."""
    failed = replace(query, status=frozenset({RunStatus.FAILED}))
    page = app.runs.find(failed, limit=1)
    if not page.items:
        return
    before = page.items[0]
    app.lifecycle.retry(before.run_id)
    end = time.monotonic() + timeout
    while True:
        head = app.lifecycle.head(before.run_id)
        if head.stages_done > before.stages_done or head.status is RunStatus.COMPLETED:
            if not as_lines:
                click.echo(f"Canary {head.run_id} got past {before.stage}.")
            return
        if head.status.ended or time.monotonic() > end:
            why = f"is {head.status} in {head.stage or before.stage}"
            click.echo(
                f"milepost: Canary {head.run_id} {why}; the others are left alone.", err=True
            )
            sys.exit(1)
        time.sleep(0.1)
