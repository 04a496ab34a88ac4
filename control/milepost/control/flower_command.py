"""``milepost flower``: Flower, set up so that a run id finds its tasks and nobody else does."""

from __future__ import annotations

import click

from milepost.checkpointing import MissingExtra

from .loading import load_app
from .options import app_option


@click.command(context_settings={"ignore_unknown_options": True})
@app_option
@click.argument("flower_arguments", nargs=-1, type=click.UNPROCESSED)
def flower(app_name: str | None, flower_arguments: tuple[str, ...]) -> None:
    """Start Flower, which shows workers and tasks, on http://127.0.0.1:5555.

    What this command does not know (--port, --basic-auth, --read-only, --url-prefix, ...) goes to Flower
    as it is, and so do FLOWER_... variables and flowerconfig.py. Without -A it watches the broker of
    MILEPOST_URL, or the embedded server of this folder.
    """
    try:
        from .flower_server import FlowerServer
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("flower", "tornado"):
            raise
        raise MissingExtra("Flower", "flower") from None
    server = FlowerServer(flower_arguments)
    app = load_app(app_name)
    app.ensure_server()
    server.serve(app.celery)
