"""Where runs are kept: `open_runs` and the contract every run store keeps."""

from __future__ import annotations

from urllib.parse import urlsplit

from milepost.checkpointing import Misconfigured
from milepost.checkpointing.redis_connection import SCHEMES as REDIS_SCHEMES
from milepost.checkpointing.redis_connection import redacted

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
    """Open the run store that *url* names: ``redis://``, ``rediss://``, ``unix://``, ``redis+socket://``.

    Raises:
        Misconfigured: No run store has that scheme.
    """
    if urlsplit(url).scheme in REDIS_SCHEMES:
        from .redis import RedisRunStore

        return RedisRunStore(url, settings)
    raise Misconfigured(
        f"No run store is known for {redacted(url)!r}: expected redis://, rediss://, unix:// or "
        "redis+socket://. With another broker, name one: Milepost(..., runs='redis://host/0')."
    )
