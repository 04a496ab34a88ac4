"""Where checkpoints are kept: `open_store` and the contract every store keeps."""

from __future__ import annotations

from ..errors import Misconfigured
from ..redis_connection import SCHEMES as REDIS_SCHEMES
from ..redis_connection import read_url, redacted
from ..settings import CheckpointSettings
from .base import CheckpointStore, Entry

__all__ = ["CheckpointStore", "Entry", "open_store"]


def open_store(url: str, settings: CheckpointSettings | None = None) -> CheckpointStore:
    """Open the store that *url* names.

    ``memory://``; ``redis://``, ``rediss://``, ``unix://`` and ``redis+socket://``;
    ``s3://bucket/prefix`` (``?endpoint_url=…&region_name=…`` for servers other than AWS).

    Raises:
        Misconfigured: No store has that scheme, or the URL cannot be read.
        MissingExtra: Its client library is not installed.
        Refused: The S3 endpoint does not honour conditional writes.
    """
    scheme = read_url(url).scheme
    if scheme == "memory":
        from .memory import MemoryCheckpointStore

        return MemoryCheckpointStore()
    if scheme in REDIS_SCHEMES:
        from .redis import RedisCheckpointStore

        return RedisCheckpointStore(url, settings)
    if scheme == "s3":
        from .s3 import S3CheckpointStore

        return S3CheckpointStore(url, settings)
    raise Misconfigured(
        f"No checkpoint store is known for {redacted(url)!r}: expected memory://, redis://, "
        "rediss://, unix://, redis+socket:// or s3://."
    )
