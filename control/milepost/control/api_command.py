"""``milepost api``: the HTTP API and the dashboard."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import click

from milepost.checkpointing import Misconfigured, MissingExtra
from milepost.tasks import Milepost

from .loading import load_app
from .options import app_option


@click.command()
@app_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8400, show_default=True, type=click.IntRange(0, 65535))
@click.option("-l", "--loglevel", default="warning", show_default=True)
@click.option("--access-log", is_flag=True, help="Log each request.")
def api(app_name: str | None, host: str, port: int, loglevel: str, access_log: bool) -> None:
    """Serve the HTTP API and the dashboard.

    Everything needs a key (`milepost keys create`). Without any, it serves this machine only, and prints a
    key that is good until it ends.
    """
    app = load_app(app_name)
    try:
        from .api.app import create_app
        from .api.server import ApiServer, server_config
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("milepost"):
            raise
        raise MissingExtra("The HTTP API", "api") from error
    from .api.settings import ApiSettings

    settings = ApiSettings()
    has_key = _has_key(app)
    if not has_key and not _is_loopback(host):
        raise Misconfigured(
            f"{host} can be reached by others, and there is no key: make one first "
            "(milepost keys create NAME --scope admin), or serve 127.0.0.1."
        )
    served = create_app(app, settings)
    config = server_config(
        served, settings, host=host, port=port, loglevel=loglevel, access_log=access_log
    )
    shown = f"[{host}]" if ":" in host else host
    listener = _listen(host, port, f"{shown}:{port}")
    bound = listener.getsockname()[1]
    here = f"http://{shown}:{bound}"
    click.echo(f"Milepost's dashboard is at {here}/ and its API at {here}/v1")
    if not has_key:
        site = served.state.site
        click.echo("There is no key yet. Until this ends, this one is good for everything:")
        click.echo(f"    {site.identities.make_local()}")
        click.echo("Sign in once, within an hour, with")
        click.echo(f"    {here}/sign-in?code={site.identities.make_code()}")
    ApiServer(config).run(sockets=[listener])


def _listen(host: str, port: int, shown: str) -> socket.socket:
    """Bind here: uvicorn would end the process with a line of its own."""
    try:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        raise Misconfigured(
            f"The API cannot listen on {shown}: {error.strerror}. Name another --port, or another --host."
        ) from None
    return listener


def _has_key(app: Milepost) -> bool:
    from .api.keys import Keys

    return any(not key.is_expired for key in Keys(app.runs).all())


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
