"""Flower with Milepost's defaults, closed to strangers."""

from __future__ import annotations

import atexit
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any, NoReturn

import click
from celery import Celery
from celery.bin.base import CLIContext
from flower.command import apply_env_options, apply_options
from flower.command import flower as flower_command
from flower.options import options

from milepost.checkpointing import Misconfigured


def _as_shown(task: Any) -> Any:
    """Let a stage that was terminated be seen as such: Celery ranks PROGRESS above REVOKED."""
    if task.state == "PROGRESS" and task.revoked:
        task.state = "REVOKED"
    return task


_DEFAULTS = {
    "address": "127.0.0.1",
    # The stage, the run, what becomes of it, and when; the uuid leads to the task's own page.
    "tasks_columns": "name,kwargs,state,result,worker,received,runtime,uuid",
    "format_task": _as_shown,
}


class FlowerServer:
    """A Flower that is told by *arguments*, ``FLOWER_…`` variables and ``flowerconfig.py``, in this order.

    Raises:
        Misconfigured: An option is not Flower's or has no value, or strangers could reach it.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = [*_with_values(arguments)]
        for name, value in _DEFAULTS.items():
            setattr(options, name, value)
        try:
            apply_env_options()
            apply_options("flower", self._arguments)
        except Exception as error:  # noqa: BLE001 - a configuration file is code, which may raise anything
            raise Misconfigured(
                f"Flower cannot be configured: {type(error).__name__}: {error}."
            ) from None
        _check_reach()

    def serve(self, celery: Celery) -> NoReturn:
        """Serve until SIGTERM or Ctrl-C, and end the process.

        Raises:
            Misconfigured: The port is taken, or the address is not this host's.
        """
        # Flower asks its parent which options are Celery's: none.
        parent = click.Context(
            click.Group("milepost"),
            obj=CLIContext(app=celery, no_color=not sys.stdout.isatty(), workdir=None),
        )
        with flower_command.make_context("flower", self._arguments, parent=parent) as context:
            try:
                flower_command.invoke(context)
            except OSError as error:
                where = options.unix_socket or f"{options.address}:{options.port}"
                raise Misconfigured(
                    f"Flower cannot listen on {where}: {error.strerror}. Name another --port."
                ) from None
        # Flower saves its state, if it is to. Then nobody waits for its threads, which may wait long for
        # a broker that is away.
        atexit._run_exitfuncs()
        os._exit(0)


def _with_values(arguments: Sequence[str]) -> Iterator[str]:
    """Yield options as ``--name=value``; of itself, Flower passes over what it does not know."""
    rest = iter(arguments)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        known = options._options.get(name.lstrip("-").replace("_", "-"))
        if not argument.startswith("-"):
            # It may be a password that went astray: it is not shown.
            raise Misconfigured("Flower takes options only, such as --port=5555.")
        if known is None:
            raise Misconfigured(f"Flower has no option {name}; flower --help lists those it has.")
        if equals or known.type is bool:
            yield argument
            continue
        value = next(rest, None)
        if value is None:
            raise Misconfigured(f"Flower's option {name} needs a value: {name}=….")
        yield f"{name}={value}"


def _check_reach() -> None:
    for pair in options.basic_auth or ():
        user, _, password = pair.partition(":")
        if not user or not password:
            raise Misconfigured("Flower's basic_auth has to be user:password, neither empty.")
    if options.basic_auth or options.auth or options.unix_socket or _is_loopback(options.address):
        return
    raise Misconfigured(
        f"Flower would listen on {options.address or 'all addresses'} for everybody, who could stop workers "
        "and read arguments. Name users with FLOWER_BASIC_AUTH=user:password, or --auth and "
        "--auth-provider for OAuth; or stay on 127.0.0.1."
    )


def _is_loopback(address: str) -> bool:
    if not address:
        return False
    try:
        found = socket.getaddrinfo(address, None)
    except OSError as error:
        raise Misconfigured(f"Flower's address {address} is unknown here: {error}.") from None
    return all(ip_address(str(place[4][0]).partition("%")[0]).is_loopback for place in found)
