"""Settings of the room, read from ``MILEPOST_…`` variables."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from .environment import Environment


class CheckpointSettings(Environment):
    """How checkpoints are written and how long their stores are waited for."""

    max_record_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    """The largest state written or read, inflated: all of it is in memory then. For larger data there are
    blobs, which are streamed."""

    blob_from_bytes: int = Field(default=1024 * 1024, ge=64 * 1024)
    """States of at least this many bytes are cut into pieces by their content, about 256 KiB each, which the
    checkpoints of a run share: what has not changed since the last one is not written again."""

    blobs: str | None = None
    """The URL of a checkpoint store for those pieces, where they are not to be with the checkpoints."""

    compress_from_bytes: int = Field(default=4096, ge=0)
    """Bodies of at least this many bytes are compressed; below, zstd costs more than it saves."""

    compression: Literal["zstd", "gzip", "none"] = "zstd"
    """How bodies are compressed. What others wrote is read in any case."""

    codec: Literal["json", "msgpack", "pickle"] = "json"
    """How bodies are written. Pickles are read only where this says so, too."""

    signing_key: SecretStr | None = Field(default=None, min_length=16)
    """What pickles are signed with, and must be signed with to be read."""

    encryption_keys: SecretStr | None = None
    """``name:base64`` of 16, 24 or 32 bytes, more of them behind commas: the first encrypts, all decrypt.
    Names, times, tags and error texts stay readable, but cannot be changed unnoticed."""

    accept_unencrypted: bool = False
    """Whether records without encryption are read although there are keys: while a store that was not
    encrypted from the beginning still has some."""

    hot_seconds: float = Field(default=86400.0, gt=0, allow_inf_nan=False)
    """How long a Redis in front of another store keeps its copy of a run after the last checkpoint."""

    store_timeout_seconds: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    """How long one call to a store may take before it counts as unavailable."""

    store_retries: int = Field(default=3, ge=0)
    """How often a call that met a broken connection is repeated. Every call may be repeated."""
