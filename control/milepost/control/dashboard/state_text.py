"""States as text: to look at, to edit, to load down; never more of one than a page can bear."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from milepost.checkpointing import Checkpoint, CheckpointKey, CheckpointMetadata, MilepostError
from milepost.checkpointing.envelope import open_header
from milepost.tasks import Milepost

from .text import pretty

SHOWN_BYTES = 200_000
"""How much of a state a page shows."""
OPENED_BYTES = 8_000_000
"""From what size on a state is only given to be loaded down."""


class StateUnreadable(MilepostError):
    """What was typed is no JSON."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The text of a value, or its beginning."""

    text: str
    total_bytes: int
    is_cut: bool


def excerpt(value: Any) -> Excerpt:
    """Return *value* as indented JSON, cut where a page would get too long."""
    data = pretty(value).encode(errors="backslashreplace")
    shown = data[:SHOWN_BYTES].decode(errors="ignore")
    return Excerpt(shown, len(data), len(data) > SHOWN_BYTES)


def plain_parts(app: Milepost, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return state, messages, tool calls and context as JSON has them."""
    return {
        name: value for name, value in checkpoint.to_dict(app.types).items() if name != "metadata"
    }


def glance(app: Milepost, key: CheckpointKey) -> tuple[CheckpointMetadata, int]:
    """Return what is known of a checkpoint and how long its body is, without opening all of that.

    Raises:
        NotFound: There is none under this key.
        Corrupt: It is damaged.
    """
    record = app.checkpoints.store.get(key)
    serializer = app.checkpoints.serializer
    metadata = serializer.metadata(record.key, record.header)
    manifest = serializer.manifest(record)
    size = manifest.plain_bytes if manifest else open_header(record.header).inflated_bytes
    return metadata, size


def read_state(text: str) -> Any:
    """Read JSON that a person typed.

    Raises:
        StateUnreadable: It is none; line and column are named.
    """
    try:
        value = json.loads(text, parse_constant=_no_number)
        # A lone surrogate can be read, but never written.
        json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        raise StateUnreadable(
            f"This is no JSON: {error.msg} in line {error.lineno}, column {error.colno}."
        ) from None
    except (RecursionError, UnicodeEncodeError, ValueError) as error:
        reason = str(error)
        if isinstance(error, RecursionError):
            reason = "it is nested too deep"
        elif isinstance(error, UnicodeEncodeError):
            reason = "it has half of a surrogate pair"
        raise StateUnreadable(f"This is no JSON: {reason}.") from None


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")
