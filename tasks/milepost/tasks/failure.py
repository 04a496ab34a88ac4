"""What is kept of an error: bounded, and without passwords."""

from __future__ import annotations

import json
import traceback
from typing import Any

from milepost.checkpointing.redaction import redacted

_MESSAGE, _TRACE = 2_000, 8_000


def describe(error: BaseException, stage: str, **more: Any) -> str:
    """Return *error* as the JSON a head keeps: `type`, `message`, `stage`, `traceback`, and *more*."""
    try:
        message = str(error)
    except Exception as broken:  # noqa: BLE001 - the error is the user's and may do anything
        message = f"(its text cannot be had: {type(broken).__name__})"
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-20))
    return json.dumps(
        {
            "type": type(error).__name__,
            "message": redacted(message)[:_MESSAGE],
            "stage": stage,
            "traceback": redacted(trace)[-_TRACE:],
            **more,
        }
    )
