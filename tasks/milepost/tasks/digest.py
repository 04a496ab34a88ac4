"""What tells two inputs of a run apart."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, RootModel, TypeAdapter


def input_digest(
    pipeline: str,
    given: Any,
    state: Any,
    adapter: TypeAdapter[Any] | None,
    *,
    may_hold_sets: bool = True,
) -> str:
    """Return the same for the same input, in any process and on any day.

    It is that of the JSON that is written, but the order of keys and of sets does not count. Where a dict
    became a model, neither does what a factory filled in for a field that the dict left out: it may be
    another the next time.

    Args:
        given: What the caller gave.
        state: What became of it as the type of the first stage's argument; it can be written.
        may_hold_sets: Whether values of the type may; to look for them takes half the time.
    """
    written = state
    if adapter is not None:
        written = adapter.serializer.to_python(state, mode="json", by_alias=False, round_trip=True)
        if may_hold_sets:
            written = _sorted(written, _as_python(state, adapter))
    if (
        isinstance(given, dict)
        and isinstance(state, BaseModel)
        and not isinstance(state, RootModel)
    ):
        for name, field in type(state).model_fields.items():
            if field.default_factory is not None and name not in state.model_fields_set:
                written.pop(name, None)
    text = _ENCODER.encode(written)
    return hashlib.sha256(f"{pipeline}\n{text}".encode()).hexdigest()


def may_hold_sets(adapter: TypeAdapter[Any] | None) -> bool:
    """Whether a value of the type may have sets in it, or things of which the type says nothing."""
    words = repr(adapter.core_schema) if adapter is not None else "any"
    return any(
        word in words for word in ("set'", "'any'", "'is-instance'", "'function-", "'custom-")
    )


def _as_python(state: Any, adapter: TypeAdapter[Any]) -> Any:
    """Return *state* as plain containers in which sets are still sets; None where that cannot be had."""
    try:
        return adapter.dump_python(state, by_alias=False, round_trip=True)
    except (ValueError, TypeError):
        return None


def _sorted(written: Any, shown: Any) -> Any:
    """Return *written* with the lists sorted that are sets in *shown*."""
    if isinstance(shown, set | frozenset) and isinstance(written, list):
        return sorted(written, key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(written, dict) and isinstance(shown, dict) and len(written) == len(shown):
        pairs = zip(written.values(), shown.values(), strict=True)
        return dict(zip(written, (_sorted(*pair) for pair in pairs), strict=True))
    if isinstance(written, list) and isinstance(shown, list | tuple) and len(written) == len(shown):
        pairs = zip(written, shown, strict=True)
        return [_sorted(*pair) for pair in pairs]
    return written


def _plain(value: Any) -> Any:
    # A state without a type of its own may be, or hold, a model.
    return value.model_dump(mode="json")


_ENCODER = json.JSONEncoder(sort_keys=True, default=_plain)
