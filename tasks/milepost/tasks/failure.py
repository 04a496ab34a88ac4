"""What is kept of an error: bounded, without passwords, and with a fingerprint to group it by."""

from __future__ import annotations

import json
import re
import traceback
from hashlib import sha1
from typing import Any

from milepost.checkpointing.redaction import redacted

_MESSAGE, _TRACE = 2_000, 8_000
_VARIABLE = re.compile(
    r"""'[^'\n]*'|"[^"\n]*"|\b(?=[0-9a-fA-F-]*[0-9])[0-9a-fA-F-]{8,}\b|[0-9]+(?:[.,:][0-9]+)*"""
)


def fingerprint(pipeline: str, stage: str, error_type: str, message: str = "") -> str:
    """Return what failures of one cause share: pipeline, stage, type, and the message's constant words.

    What is quoted, numbers and ids differ from run to run and are left out. ``_head.lua`` makes the same of
    failures without a message.
    """
    first = message.strip().split("\n", 1)[0][:500]
    parts = (pipeline, stage, error_type, _VARIABLE.sub("#", first))
    return sha1("\n".join(parts).encode(), usedforsecurity=False).hexdigest()[:12]


def describe(error: BaseException, pipeline: str, stage: str, **more: Any) -> str:
    """Return *error* as the JSON a head keeps: `type`, `message`, `stage`, `group`, `traceback`, *more*."""
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
            "group": fingerprint(pipeline, stage, type(error).__name__, message),
            "traceback": redacted(trace)[-_TRACE:],
            **more,
        }
    )
