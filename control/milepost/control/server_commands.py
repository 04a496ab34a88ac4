"""Commands about the machine they run on: the embedded server, and the shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from milepost.checkpointing import Misconfigured
from milepost.worker import EmbeddedServer

from .display import print_json
from .options import json_option


@click.command()
@click.argument("action", type=click.Choice(["start", "stop", "status"]))
@json_option
def server(action: str, as_lines: bool) -> None:
    """Start, stop or find the embedded server of this folder (MILEPOST_HOME)."""
    embedded = EmbeddedServer()
    was_up = False
    if action == "start":
        embedded.ensure()
    elif action == "stop":
        was_up = embedded.pid is not None
        embedded.stop()
    pid = embedded.pid
    if as_lines:
        print_json({"up": pid is not None, "pid": pid, "url": embedded.url})
    else:
        down = f"{'stopped' if was_up else 'not running'}; its data is in {embedded.home}"
        click.echo(f"up, pid {pid}: {embedded.url}" if pid else down)
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
