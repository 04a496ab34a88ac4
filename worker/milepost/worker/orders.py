"""Orders that stand in the run store: to leave a queue alone, and to leave."""

from __future__ import annotations

import json
from contextlib import suppress


def order(by: str, **about: int) -> str:
    """Write an order in somebody's name."""
    return json.dumps({"by": by, **about})


def told_by(text: str) -> str:
    """Return who gave an order; empty if that cannot be read."""
    with suppress(ValueError, LookupError, TypeError):
        return str(json.loads(text)["by"])
    return ""


def is_told(text: str, started_at: int) -> bool:
    """Whether an order to leave is for the worker that was started then."""
    with suppress(ValueError, LookupError, TypeError):
        return bool(json.loads(text)["started_at"] == started_at)
    return False
