"""What tells two inputs of a run apart."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python


def input_digest(pipeline: str, state: Any, adapter: TypeAdapter[Any] | None) -> str:
    """Return the same for the same input, in any process and on any day.

    The order of keys and of sets does not count, and neither do fields of a model that have their
    default. What a factory fills in where a dict left it out does not count either: it may be another
    the next time. In a model that the caller made, it was the caller's.
    """
    given = state
    if adapter is not None:
        given = adapter.dump_python(
            state, by_alias=False, round_trip=True, exclude_unset=True, exclude_defaults=True
        )
    text = json.dumps(_canonical(given), sort_keys=True)
    return hashlib.sha256(f"{pipeline}\n{text}".encode()).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {_name(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(_canonical(item), sort_keys=True) for item in value)
    plain = to_jsonable_python(value)
    return _canonical(plain) if isinstance(plain, dict | list) else plain


def _name(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(_canonical(key), sort_keys=True)
