"""JSON by way of pydantic: what can be written is read back equal, or refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from .errors import NotSerializable

_JSON: TypeAdapter[Any] = TypeAdapter(JsonValue)


def dump_json(value: Any, *, name: str, adapter: TypeAdapter[Any] | None = None) -> bytes:
    """Write *value* as one line of JSON.

    Args:
        name: What the value is called in errors (``state``, ``messages``, …).
        adapter: The type it has. Without one it must be JSON already: dict with string keys, list,
            str, int, float, bool, None or a pydantic model, so that nothing changes its type on the
            way.

    Raises:
        NotSerializable: A value inside cannot be written, is NaN or infinite, or contains itself.
            `path` names it.
    """
    try:
        if adapter is not None:
            value = adapter.dump_python(value, mode="json", warnings="error")
        elif isinstance(value, BaseModel):
            value = value.model_dump(mode="json", warnings="error")
        else:
            _JSON.validate_python(value)
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return text.encode()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = join(name, *(part for part in first["loc"] if part not in _JSON_TAGS))
        raise NotSerializable(
            f"{path} is no JSON ({first['msg']}). Use dict, list, str, int, float, bool or None, "
            "or annotate the stage with a pydantic model.",
            path=path,
        ) from error
    except PydanticSerializationError as error:
        raise NotSerializable(f"{name} cannot be written as JSON: {error}", path=name) from error
    except UnicodeEncodeError as error:
        raise NotSerializable(f"{name} holds text that is no Unicode: {error}", path=name) from error
    except (ValueError, TypeError, RecursionError) as error:
        path = next(_bad_numbers(value, name), name)
        raise NotSerializable(
            f"{path} cannot be written as JSON: {error}. NaN, infinity and cycles are refused.",
            path=path,
        ) from error


def load_json(data: bytes, adapter: TypeAdapter[Any] | None = None) -> Any:
    """Read what `dump_json` wrote, validated by *adapter* if given.

    Raises:
        pydantic.ValidationError: It is not of that type.
    """
    return (adapter or _JSON).validate_json(data)


def join(name: str, *parts: object) -> str:
    """Write a path the way a Python reader would: ``state.rows[3].price``."""
    return name + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


# JsonValue names its own variants in locations; they say nothing to a reader.
_JSON_TAGS = frozenset({"dict", "list", "str", "int", "float", "bool", "NoneType", "[key]"})


def _bad_numbers(value: Any, path: str, depth: int = 0) -> Iterator[str]:
    if depth > 200:
        yield path
    elif isinstance(value, float) and not math.isfinite(value):
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _bad_numbers(item, join(path, key), depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _bad_numbers(item, join(path, index), depth + 1)
