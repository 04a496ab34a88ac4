"""JSON as it is accepted from outside: one meaning, finite numbers, bounded depth, writable text."""

from __future__ import annotations

import json
import math
from typing import Any

from .problems import MALFORMED, Problem


def parse_json(body: bytes, depth: int) -> Any:
    """Return what *body* says.

    Raises:
        Problem: It is no JSON, has NaN or infinite numbers, a name twice in one object, half of a surrogate
            pair, or is nested deeper than *depth*.
    """
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise _too_deep(depth) from None
    except UnicodeDecodeError as error:
        raise Problem(MALFORMED, f"The body is no UTF-8: byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise Problem(MALFORMED, f"{error.msg} at character {error.pos}.") from None
    except ValueError as error:
        raise Problem(MALFORMED, f"{error}"[:200]) from None
    if _is_deeper(value, depth):
        raise _too_deep(depth)
    # Only an escape can bring one: a lone surrogate is no UTF-8.
    if b"\\u" in body:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise Problem(MALFORMED, "A text has half of a surrogate pair.") from None
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(depth):
        if not level:
            return False
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]
    return bool(level)


def _too_deep(depth: int) -> Problem:
    return Problem(MALFORMED, f"It is nested deeper than {depth} levels.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        # One pass: whoever sends such an object chooses how long it is.
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"The name {name[:50]!a} is there twice.")
            seen.add(name)
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:30]} is too large a number.")
    return number
