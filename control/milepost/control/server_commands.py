"""Commands that run something: workers, and the embedded server."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from milepost.checkpointing import Misconfigured
from milepost.worker import EmbeddedServer
from milepost.worker.durability import weaknesses

from .display import print_json
from .loading import load_app
from .options import app_option, json_option


@click.command(context_settings={"ignore_unknown_options": True})
@app_option
@click.option("-c", "--concurrency", type=click.IntRange(1), help="Processes or threads.")
@click.option(
    "-P", "--pool", default="prefork", show_default=True, help="prefork, threads or solo."
)
@click.option("-l", "--loglevel", default="WARNING", show_default=True)
@click.option("--events/--no-events", default=True, help="Task events, for Flower. On by default.")
@click.option("--strict", is_flag=True, help="Refuse to start on a store that can lose runs.")
@click.argument("celery_arguments", nargs=-1, type=click.UNPROCESSED)
def worker(
    app_name: str | None,
    concurrency: int | None,
    pool: str,
    loglevel: str,
    events: bool,
    strict: bool,
    celery_arguments: tuple[str, ...],
) -> None:
    """Run a worker; a fleet is this, many times.

    What this command does not know (-Q, -n, --autoscale, ...) goes to Celery's worker as it is.
    """
    if app_name is None:
        raise Misconfigured("A worker needs an application: -A MODULE or MILEPOST_APP.")
    app = load_app(app_name)
    found = weaknesses(app.runs)
    if found and strict:
        raise Misconfigured(f"{app.runs.location} can lose runs. " + " ".join(found))
    arguments = ["worker", "-P", pool, "-l", loglevel]
    # Workers of Milepost need no gossip: who holds what stands in the run store.
    arguments += ["--without-gossip", "--without-mingle"]
    if concurrency is not None:
        arguments += ["-c", str(concurrency)]
    if events:
        arguments.append("-E")
    app.celery.worker_main([*arguments, *celery_arguments])


@click.command()
@click.argument("action", type=click.Choice(["start", "stop", "status"]))
@json_option
def server(action: str, as_lines: bool) -> None:
    """Start, stop or find the embedded server of this folder (MILEPOST_HOME)."""
    embedded = EmbeddedServer()
    if action == "start":
        embedded.ensure()
    elif action == "stop":
        embedded.stop()
    pid = embedded.pid
    if as_lines:
        print_json({"up": pid is not None, "pid": pid, "url": embedded.url})
    else:
        click.echo(f"up, pid {pid}: {embedded.url}" if pid else f"not running: {embedded.home}")
    if action == "status" and pid is None:
        raise SystemExit(1)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL: eval "$(milepost completion bash)"."""
    kind = get_completion_class(shell)
    if kind is None:
        raise Misconfigured(f"No completion for {shell}.")
    root = context.find_root().command
    click.echo(kind(root, {}, "milepost", "_MILEPOST_COMPLETE").source())
