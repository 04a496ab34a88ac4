"""Where runs are kept: `open_runs` and the contract every run store keeps."""

from __future__ import annotations

from urllib.parse import urlsplit

from milepost.checkpointing import Misconfigured, MissingExtra
from milepost.checkpointing.redaction import redacted
from milepost.checkpointing.redis_connection import SCHEMES as REDIS_SCHEMES
from milepost.checkpointing.sql_connection import SCHEMES as SQL_SCHEMES

from ..settings import TaskSettings
from .base import (
    Advance,
    Bid,
    Cause,
    Claim,
    Commit,
    Look,
    Next,
    Push,
    Refusal,
    RunStore,
)

__all__ = [
    "Advance",
    "Bid",
    "Cause",
    "Claim",
    "Commit",
    "Look",
    "Next",
    "Push",
    "Refusal",
    "RunStore",
    "open_runs",
]


def open_runs(url: str, settings: TaskSettings | None = None) -> RunStore:
    """Open the run store that *url* names.

    ``redis://``, ``rediss://``, ``unix://``, ``redis+socket://``; ``postgresql://user:pw@host/db``;
    ``sqlite:///path``, for the workers of one host.

    Raises:
        Misconfigured: No run store has that scheme.
        MissingExtra: Its client library is not installed.
        Refused: A database does not let us in, or a newer Milepost made its tables.
        Unavailable: A database does not answer.
    """
    scheme = urlsplit(url).scheme
    if scheme in SQL_SCHEMES:
        try:
            from .sql import SQLRunStore
        except ImportError:
            extra = "sql" if scheme == "sqlite" else "postgres"
            raise MissingExtra("A SQL database", extra) from None
        return SQLRunStore(url, settings)
    if scheme in REDIS_SCHEMES:
        from .redis import RedisRunStore

        return RedisRunStore(url, settings)
    raise Misconfigured(
        f"No run store is known for {redacted(url)!r}: expected redis://, rediss://, unix://, "
        "redis+socket://, postgresql:// or sqlite:///. With another broker, name one: "
        "Milepost(..., runs='redis://host/0')."
    )
