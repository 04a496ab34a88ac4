"""JSON by way of pydantic: what can be written is read back equal, or refused by name."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, JsonValue, SecretBytes, SecretStr, TypeAdapter
from pydantic_core import from_json

from .errors import NotSerializable

_JSON: TypeAdapter[Any] = TypeAdapter(JsonValue)
_ANY: TypeAdapter[Any] = TypeAdapter(Any)
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_EMPTY = {b"[]": list, b"{}": dict}
_SIGNS = (b"null", b"**********", b"NaN", b"Infinity")
"""What pydantic may have written in place of something else."""
_LONGEST_NUMBER = 4_300
"""So many digits does Python read at most."""
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (_LONGEST_NUMBER + 1))
_OPEN = (
    "'any'",
    "'definition",
    "'dataclass",
    "'function-",
    "'is-instance'",
    "'typed-dict'",
    "extra_",
)
"""What stands in the schema of a type whose values may hold more than it knows."""
DEEPEST = 200
"""pydantic's parser reads no JSON that is nested deeper than this and one more."""


def dump_json(value: Any, *, name: str, adapter: TypeAdapter[Any] | None = None) -> bytes:
    """Write *value* as one line of JSON.

    Args:
        name: What the value is called in errors (``state``, ``messages``, …).
        adapter: The type it has. Without one it must be JSON already: dict with string keys, list,
            str, int, float, bool, None or a pydantic model, so that nothing changes its type on the
            way.

    Raises:
        NotSerializable: A value inside cannot be written, is NaN or infinite, contains itself, is
            a pydantic secret or is nested deeper than 200. `path` names it.
    """
    if adapter is None and not value and type(value) in (list, dict):
        return b"[]" if type(value) is list else b"{}"
    if adapter is None and isinstance(value, BaseModel):
        adapter = _ANY
    if adapter is not None and (written := _written_at_once(adapter, value)) is not None:
        return written
    plain = value
    try:
        if adapter is None:
            _JSON.validate_python(value)
        else:
            plain = _dump(adapter, value, "json")
        text = _ENCODER.encode(plain)
        data = text.encode()
        if text.count("[") + text.count("{") > DEEPEST:
            from_json(data)
    except (ValueError, TypeError, RecursionError) as error:
        if adapter is None or plain is not value:
            fault = next(_faults(plain, name), None)
        else:
            fault = _undumpable(adapter, value, name)
        raise refusal(*(fault or (name, str(error)))) from error
    if adapter is not None and isinstance(value, BaseModel) and _dump(_ANY, value, "json") != plain:
        # pydantic writes of another class what its type knows, and says nothing.
        raise refusal(name, f"its type does not keep all of a {type(value).__name__}")
    if adapter is not None and ("null" in text or "**********" in text):
        whole = _dump(adapter, value, "python")
        if _is_suspect(whole):
            _check_unchanged(whole, plain, name)
    return data


def _written_at_once(adapter: TypeAdapter[Any], value: Any) -> bytes | None:
    """Write *value* at the speed of pydantic; None if anything in it wants a closer look."""
    try:
        data = _dump_bytes(adapter, value)
        if data.count(b"[") + data.count(b"{") > DEEPEST:
            return None
        for sign in _SIGNS:
            if sign in data:
                return None
        if len(data) > _LONGEST_NUMBER and _LONG_NUMBER.search(data):
            return None
        if isinstance(value, BaseModel) and not _keeps_all(adapter, type(value)):
            # pydantic writes of another class what its type knows, and says nothing.
            return data if _dump_bytes(_ANY, value) == data else None
    except (ValueError, TypeError, RecursionError):
        return None
    return data


@lru_cache(maxsize=1024)
def _keeps_all(adapter: TypeAdapter[Any], kind: type[BaseModel]) -> bool:
    """Whether a type writes all of a value of that class, whatever is in it: its own, of plain fields."""
    if adapter is _ANY:
        return True
    words = repr(adapter.core_schema)
    own = adapter.core_schema.get("cls") is kind and words.count("'type': 'model'") == 1
    return own and not any(word in words for word in _OPEN)


def _dump_bytes(adapter: TypeAdapter[Any], value: Any) -> bytes:
    return adapter.serializer.to_json(value, by_alias=False, round_trip=True, warnings="error")


def load_json(data: bytes, adapter: TypeAdapter[Any] | None = None) -> Any:
    """Read what `dump_json` wrote, validated by *adapter* if given.

    Raises:
        pydantic.ValidationError: It is not of that type.
    """
    # Fields were written under their names; programs may offer them under their aliases.
    if adapter is None and data in _EMPTY:
        return _EMPTY[data]()
    return (adapter or _JSON).validate_json(data, by_alias=True, by_name=True)


def join(name: str, *parts: object) -> str:
    """Write a path the way a Python reader would: ``state.rows[3].price``."""
    return name + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def _dump(adapter: TypeAdapter[Any], value: Any, mode: Literal["json", "python"]) -> Any:
    # round_trip leaves out what is computed from other fields and would not be accepted back.
    return adapter.dump_python(value, mode=mode, by_alias=False, round_trip=True, warnings="error")


def refusal(path: str, reason: str) -> NotSerializable:
    return NotSerializable(
        f"{path} cannot be kept in a checkpoint: {reason}. Use dict, list, str, int, finite float, "
        "bool, None, a type of the table (milepost.checkpointing.Types), or annotate the stage with a "
        "pydantic model.",
        path=path,
    )


def _faults(value: Any, path: str, around: tuple[int, ...] = ()) -> Iterator[tuple[str, str]]:
    """Find what is no JSON in *value*: where, and why."""
    if isinstance(value, dict | list):
        if id(value) in around:
            yield path, "it contains itself"
            return
        if len(around) >= DEEPEST:
            yield f"{path[:80]}…", f"it is nested deeper than {DEEPEST}"
            return
        around = (*around, id(value))
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not is_unicode(key):
                yield path, f"its key {key!a} is no Unicode text"
            else:
                yield from _faults(item, join(path, key), around)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(item, join(path, index), around)
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield path, f"it is {value}"
    elif isinstance(value, str):
        if not is_unicode(value):
            yield path, "it is no Unicode text"
    elif value is not None and not isinstance(value, int):
        yield path, f"it is of type {type(value).__name__}"


def _undumpable(adapter: TypeAdapter[Any], value: Any, name: str) -> tuple[str, str] | None:
    """Find what pydantic does not know to write as JSON in a value of the adapter's type."""
    try:
        return next(_unknown(_dump(adapter, value, "python"), name), None)
    except (ValueError, TypeError, RecursionError):
        return None


def _unknown(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _unknown(item, join(path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _unknown(item, join(path, index))
    else:
        try:
            _dump(_ANY, value, "json")
        except (ValueError, TypeError):
            yield path, f"it is of type {type(value).__name__}"


def is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_suspect(value: Any) -> bool:
    """Tell, at the speed of C, whether `_check_unchanged` might find something."""

    def unpacked(item: object) -> Any:
        if isinstance(item, SecretStr | SecretBytes):
            raise ValueError("a secret")
        return list(item) if isinstance(item, set | frozenset) else None

    try:
        json.dumps(value, allow_nan=False, skipkeys=True, default=unpacked)
    except ValueError:
        return True
    return False


def _check_unchanged(value: Any, written: Any, path: str) -> None:
    """Refuse what pydantic replaces in silence: NaN and infinity by null, secrets by asterisks."""
    if isinstance(value, float) and written is None:
        raise refusal(path, f"it is {value}")
    if isinstance(value, SecretStr | SecretBytes) and value:
        raise refusal(path, "it is a secret, of which asterisks would be written")
    if isinstance(value, dict) and isinstance(written, dict):
        for key, item, other in zip(value, value.values(), written.values(), strict=False):
            _check_unchanged(item, other, join(path, key))
    elif isinstance(value, list | tuple | set | frozenset) and isinstance(written, list):
        for index, (item, other) in enumerate(zip(value, written, strict=False)):
            _check_unchanged(item, other, join(path, index))
