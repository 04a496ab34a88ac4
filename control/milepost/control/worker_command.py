"""``milepost worker``: Celery's worker with the defaults that durable runs want."""

from __future__ import annotations

import copy
import os
import sys

import click

from milepost.checkpointing import Misconfigured
from milepost.worker.checks.at_start import weaknesses

from .loading import load_app
from .options import app_option


@click.command(context_settings={"ignore_unknown_options": True})
@app_option
@click.option("-c", "--concurrency", type=click.IntRange(1), help="Processes or threads.")
@click.option(
    "-P", "--pool", default="prefork", show_default=True, help="prefork, threads or solo."
)
@click.option("-l", "--loglevel", default="WARNING", show_default=True)
@click.option("--events/--no-events", default=True, help="Task events, for Flower. On by default.")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="How it logs. [text]")
@click.option("--strict", is_flag=True, help="Refuse to start on a store that can lose runs.")
@click.argument("celery_arguments", nargs=-1, type=click.UNPROCESSED)
def worker(
    app_name: str | None,
    concurrency: int | None,
    pool: str,
    loglevel: str,
    events: bool,
    log_format: str | None,
    strict: bool,
    celery_arguments: tuple[str, ...],
) -> None:
    """Run a worker; a fleet is this, many times.

    What this command does not know (-Q, -n, --autoscale, ...) goes to Celery's worker as it is.
    """
    # Only the worker's own command: that of `celery` imports all others and their plug-ins, Flower
    # among them, which more than doubles the time until a new worker takes over from a dead one.
    from celery.bin.base import CLIContext
    from celery.bin.worker import worker as celery_worker

    if app_name is None:
        raise Misconfigured("A worker needs an application: -A MODULE or MILEPOST_APP.")
    if log_format is not None:
        os.environ["MILEPOST_LOG_FORMAT"] = log_format
    app = load_app(app_name)
    if strict and (found := weaknesses(app)):
        raise Misconfigured(" ".join(map(str, found)))
    arguments = ["-P", pool, "-l", loglevel]
    # Workers of Milepost need no gossip: who holds what stands in the run store.
    arguments += ["--without-gossip", "--without-mingle"]
    if concurrency is not None:
        arguments += ["-c", str(concurrency)]
    app.celery.conf.worker_send_task_events = events
    command = copy.copy(celery_worker)
    command.params = [*celery_worker.params, *app.celery.user_options.get("worker", ())]
    sys.exit(
        command.main(
            [*arguments, *celery_arguments],
            prog_name="milepost worker",
            standalone_mode=False,
            obj=CLIContext(app=app.celery, no_color=not sys.stdout.isatty(), workdir=None),
        )
    )
