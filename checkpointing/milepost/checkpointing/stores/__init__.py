"""Where checkpoints are kept: `open_store` and the contract every store keeps."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from ..errors import Misconfigured
from ..redaction import redacted
from ..redis_connection import read_url
from ..settings import CheckpointSettings
from .base import CheckpointStore, Entry

__all__ = ["CheckpointStore", "Entry", "open_store"]

ENTRY_POINTS = "milepost.checkpoint_stores"
"""The group in which a distribution offers a store of its own: the name is the URL scheme, the object is
called with the URL and the settings."""

_REDIS = "redis:RedisCheckpointStore"
_SQL = "sql:SQLCheckpointStore"
_STORES = {
    "memory": "memory:open_memory",
    "file": "file:FileCheckpointStore",
    "sqlite": _SQL,
    "postgresql": _SQL,
    "postgres": _SQL,
    "redis": _REDIS,
    "rediss": _REDIS,
    "unix": _REDIS,
    "redis+socket": _REDIS,
    "s3": "s3:S3CheckpointStore",
}


def open_store(url: str, settings: CheckpointSettings | None = None) -> CheckpointStore:
    """Open the store that *url* names.

    ``memory://``; ``file:///folder``; ``sqlite:///path``; ``postgresql://user:pw@host/db``; ``redis://``,
    ``rediss://``, ``unix://`` and ``redis+socket://``; ``s3://bucket/prefix``
    (``?endpoint_url=…&region_name=…`` for servers other than AWS); any scheme that an installed
    distribution offers under `ENTRY_POINTS`; and a Redis in front of any of them, as in
    ``redis://host/0|s3://bucket/prefix`` (``|async`` behind it: see `TieredCheckpointStore`).

    Raises:
        Misconfigured: No store has that scheme, or the URL cannot be read.
        MissingExtra: Its client library is not installed.
        Refused: The store cannot be relied on, or does not let us in.
    """
    if "|" in url:
        from .tiered import open_tiered

        return open_tiered(url, settings)
    scheme = read_url(url).scheme
    offered = entry_points(group=ENTRY_POINTS)
    store: Any
    if scheme in _STORES:
        module, _, name = _STORES[scheme].partition(":")
        store = getattr(import_module(f".{module}", __name__), name)(url, settings)
    elif scheme in offered.names:
        store = offered[scheme].load()(url, settings)
    else:
        known = ", ".join(f"{each}://" for each in sorted({*_STORES, *offered.names}))
        raise Misconfigured(
            f"No checkpoint store is known for {redacted(url)!r}: expected one of {known}."
        )
    if not isinstance(store, CheckpointStore):
        raise Misconfigured(
            f"What {scheme}:// names is a {type(store).__name__}, and no CheckpointStore."
        )
    return store
