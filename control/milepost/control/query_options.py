"""The options with which commands choose runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

from milepost.checkpointing import Misconfigured
from milepost.tasks import RunQuery, RunStatus
from milepost.tasks.duration import seconds

F = TypeVar("F", bound=Callable[..., Any])
_STATUSES = click.Choice([status.value for status in RunStatus])
_OPTIONS = (
    click.option("--status", "statuses", multiple=True, type=_STATUSES, help="Any of these."),
    click.option("--pipeline"),
    click.option("--stage", "due_stage", help="The stage due, or the one that failed."),
    click.option("--group", help="Failed for this cause; `milepost failures` shows them."),
    click.option("--tag"),
    click.option("--tenant"),
    click.option("--since", help="Started within this long (1h), or since a date."),
    click.option("--until", help="Started longer ago than that, or before a date."),
)
NAMES = frozenset({"statuses", "pipeline", "due_stage", "group", "tag", "tenant", "since", "until"})


def query_options(function: F) -> F:
    """Give a command the options that choose runs; `query_of` reads them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def query_of(options: dict[str, Any]) -> RunQuery:
    """Take the options that choose runs out of *options* and return the query they make.

    Raises:
        Misconfigured: A time cannot be read.
    """
    given = {name: options.pop(name) for name in NAMES}
    return RunQuery(
        status=frozenset(RunStatus(status) for status in given["statuses"]),
        pipeline=given["pipeline"],
        stage=given["due_stage"],
        group=given["group"],
        tag=given["tag"],
        tenant=given["tenant"],
        since_ms=_moment_ms(given["since"]),
        until_ms=_moment_ms(given["until"]),
    )


def _moment_ms(text: str | None) -> int | None:
    if text is None:
        return None
    if text[:4].isdigit() and "-" in text:
        return int(moment(text).timestamp() * 1000)
    try:
        return int((time.time() - seconds(text)) * 1000)
    except Misconfigured:
        raise Misconfigured(
            f"{text!r} is no time: expected how long ago it was, such as 90m or 2d, or a date such as "
            "2030-01-31T18:00."
        ) from None


def moment(text: str) -> datetime:
    """Read a date and time as ISO 8601 has them; without a time zone it is this machine's.

    Raises:
        Misconfigured: It is none.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Misconfigured(
            f"{text!r} is no time: expected one such as 2030-01-31T18:00+01:00."
        ) from None
