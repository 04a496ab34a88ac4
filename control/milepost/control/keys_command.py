"""``milepost keys``: who may use the HTTP API."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from milepost.tasks import Milepost
from milepost.tasks.actor import default_actor
from milepost.tasks.duration import seconds
from milepost.tasks.runs.registry import Note

from .api.keys import Key, Keys, Scope
from .display import print_json
from .loading import load_app
from .options import app_option, json_option


@click.group()
def keys() -> None:
    """Make, list and revoke keys of the HTTP API."""


@keys.command()
@click.argument("name")
@app_option
@click.option(
    "--scope",
    required=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="read: look; operate: start and command runs; admin: everything.",
)
@click.option("--tenant", default="", help="See and start this tenant's runs only.")
@click.option("--expires", help="Good for this long, such as 30d; by default until revoked.")
@json_option
def create(
    name: str,
    app_name: str | None,
    scope: str,
    tenant: str,
    expires: str | None,
    as_lines: bool,
) -> None:
    """Make a key for NAME, a person or a program, and print it: it is shown this once."""
    app = load_app(app_name)
    good_for = None if expires is None else seconds(expires)
    text, key = Keys(app.runs).create(name, Scope(scope), tenant=tenant, seconds=good_for)
    _note(app, "create key", f"{key.id} {key.name} {key.scope} {key.tenant}".strip())
    if as_lines:
        print_json({**_as_json(key), "key": text})
    else:
        click.echo(text)


@keys.command(name="list")
@app_option
@json_option
def list_keys(app_name: str | None, as_lines: bool) -> None:
    """List keys, oldest first, without their secrets."""
    found = Keys(load_app(app_name).runs).all()
    if as_lines:
        for key in found:
            print_json(_as_json(key))
        return
    if not found:
        click.echo("There is no key: milepost keys create NAME --scope admin.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("id", "name", "scope", "tenant", "made", "expires"):
        table.add_column(column, no_wrap=True)
    for key in found:
        expires = "never" if key.expires_at is None else _time(key.expires_at)
        table.add_row(
            key.id,
            escape(key.name),
            key.scope.value,
            escape(key.tenant) or "all",
            _time(key.created_at),
            f"{expires} (over)" if key.is_expired else expires,
        )
    Console().print(table)


@keys.command()
@click.argument("key_id", metavar="ID")
@app_option
@json_option
def revoke(key_id: str, app_name: str | None, as_lines: bool) -> None:
    """Let the key with this ID be good no more."""
    app = load_app(app_name)
    Keys(app.runs).revoke(key_id)
    _note(app, "revoke key", key_id)
    if as_lines:
        print_json({"revoked": key_id})
    else:
        click.echo(f"{key_id} revoked")


def _note(app: Milepost, command: str, detail: str) -> None:
    app.runs.note(Note("", app.settings.actor or default_actor(), command, detail))


def _as_json(key: Key) -> dict[str, object]:
    return {**asdict(key), "expired": key.is_expired}


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
