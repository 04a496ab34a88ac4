"""What differs between two checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from .models import Checkpoint
from .plain_json import join


class Absent:
    """Stands for a value that one of the two has not."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()


@dataclass(frozen=True, slots=True)
class Difference:
    """One place at which two checkpoints differ."""

    path: str
    """Like ``state.rows[3].price``."""
    before: Any
    after: Any


def compare(before: Checkpoint, after: Checkpoint) -> list[Difference]:
    """Return where two checkpoints differ, field by field: state, messages, tool calls and context."""
    parts = ("state", "messages", "tool_calls", "context")
    return [
        difference
        for part in parts
        for difference in _differences(part, getattr(before, part), getattr(after, part))
    ]


def _differences(path: str, before: Any, after: Any) -> Iterator[Difference]:
    before, after = _plain(before), _plain(after)
    if type(before) is dict and type(after) is dict:
        for key in dict.fromkeys([*before, *after]):
            yield from _differences(
                join(path, str(key)), before.get(key, ABSENT), after.get(key, ABSENT)
            )
    elif type(before) is list and type(after) is list:
        for index in range(max(len(before), len(after))):
            yield from _differences(
                join(path, index),
                before[index] if index < len(before) else ABSENT,
                after[index] if index < len(after) else ABSENT,
            )
    elif not _equal(before, after):
        yield Difference(path, before, after)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, BaseModel) else value


def _equal(before: Any, after: Any) -> bool:
    if type(before) is not type(after):
        return False
    same = before == after
    # Arrays and frames compare item by item.
    whole = getattr(before, "equals", None)
    if whole is not None:
        return bool(whole(after))
    return bool(same.all()) if hasattr(same, "all") else bool(same)
