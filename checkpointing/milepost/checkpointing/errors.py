"""Every error of the room, named by condition and never by backend.

    MilepostError
    ├── InvalidName            a run id, pipeline, stage or tag breaks the one rule for names
    ├── Misconfigured          a setting or URL cannot work as given
    │   └── MissingExtra       a client library is not installed
    └── CheckpointError        carries `run_id` (and `key` where one checkpoint is meant)
        ├── NotFound           no such run or checkpoint
        │   └── Expired        it was there, and its time is over
        ├── AlreadyExists      the number is taken; a checkpoint is written once
        ├── Corrupt            the bytes are not what was written, or another run's
        │   ├── UnknownFormat  written by a newer Milepost, or by something else
        │   └── Unprotected    plain, or pickled, where that is not accepted
        ├── MissingKey         encrypted with a key that is not in the ring; carries `key_name`
        ├── NotSerializable    the state cannot be kept; carries `path`
        ├── TooLarge           more bytes than allowed; carries `size_bytes`, `limit_bytes`
        ├── Unavailable        the store does not answer; trying again may help
        └── Refused            the store answers no; trying again will not help

The client's own exception is chained as `__cause__`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models import CheckpointKey


class MilepostError(Exception):
    """Root of all errors that Milepost raises."""


class InvalidName(MilepostError, ValueError):
    """A name breaks the rule of `milepost.checkpointing.ids`."""


class Misconfigured(MilepostError):
    """A setting or URL cannot work as given."""


class MissingExtra(Misconfigured):
    """A client library is not installed; the message names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an extra: pip install 'milepost[{extra}]'.")
        self.extra = extra


class CheckpointError(MilepostError):
    """Something is wrong with a run's checkpoints."""

    def __init__(
        self, message: str, *, run_id: str | None = None, key: CheckpointKey | None = None
    ) -> None:
        super().__init__(message)
        self.key = key
        self.run_id = run_id if run_id is not None else (key.run_id if key else None)


class NotFound(CheckpointError):
    """There is no such run or checkpoint."""


class Expired(NotFound):
    """The checkpoint's time to live is over."""


class AlreadyExists(CheckpointError):
    """The key is taken, by a record that differs from the one offered."""


class Corrupt(CheckpointError):
    """The bytes found under a key are not the record that was written there."""


class UnknownFormat(Corrupt):
    """The record's format version, codec or compression is not known here."""


class Unprotected(Corrupt):
    """The record is not encrypted, or is a pickle, where such is not accepted."""


class MissingKey(CheckpointError):
    """The record is encrypted with a key that is not in the ring."""

    def __init__(self, message: str, *, key_name: str, key: CheckpointKey | None = None) -> None:
        super().__init__(message, key=key)
        self.key_name = key_name


class NotSerializable(CheckpointError):
    """A value cannot be kept in a checkpoint; `path` says where it sits."""

    def __init__(self, message: str, *, path: str, run_id: str | None = None) -> None:
        super().__init__(message, run_id=run_id)
        self.path = path


class TooLarge(CheckpointError):
    """A record is larger than the limit, before or after inflating."""

    def __init__(
        self, message: str, *, size_bytes: int, limit_bytes: int, run_id: str | None = None
    ) -> None:
        super().__init__(message, run_id=run_id)
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class Unavailable(CheckpointError):
    """The store does not answer now."""


class Refused(CheckpointError):
    """The store answers, and refuses."""


def placed(error: CheckpointError, key: CheckpointKey) -> CheckpointError:
    """Return the same error, saying where it was met."""
    message = f"Checkpoint {key.path} of run {key.run_id}: {error}"
    if isinstance(error, TooLarge):
        return TooLarge(
            message,
            size_bytes=error.size_bytes,
            limit_bytes=error.limit_bytes,
            run_id=key.run_id,
        )
    if isinstance(error, MissingKey):
        return MissingKey(message, key_name=error.key_name, key=key)
    return type(error)(message, key=key)
