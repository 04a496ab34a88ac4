"""What is kept of an error: bounded, without passwords, and with a fingerprint to group it by."""

from __future__ import annotations

import json
import re
import traceback
from hashlib import sha1
from pathlib import Path
from types import TracebackType
from typing import Any

from milepost.checkpointing.redaction import redacted

_MESSAGE, _TRACE = 2_000, 8_000
LONGEST = 16_000
"""What is looked at of a text that may be megabytes: to hide secrets in those would take seconds, of which
the process's heartbeat gets none."""
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


def text_of(error: BaseException) -> str:
    """Return the first `LONGEST` characters of what *error* says; it is the user's and may do anything."""
    try:
        return str(error)[:LONGEST]
    except Exception as broken:  # noqa: BLE001 - as said
        return f"(its text cannot be had: {type(broken).__name__})"


def describe(error: BaseException, pipeline: str, stage: str, **more: Any) -> str:
    """Return *error* as the JSON a head keeps: `type`, `message`, `stage`, `group`, `traceback`, *more*."""
    message = text_of(error)
    raised = _from_the_stage(error.__traceback__)
    trace = "".join(traceback.format_exception(type(error), error, raised, limit=-20))
    return json.dumps(
        {
            "type": type(error).__name__,
            "message": redacted(message)[:_MESSAGE],
            "stage": stage,
            "group": fingerprint(pipeline, stage, type(error).__name__, message),
            "traceback": redacted(trace[-LONGEST:])[-_TRACE:],
            **more,
        }
    )


def _from_the_stage(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames that lead to the stage, unless there are no others."""
    here = str(Path(__file__).parent)
    theirs = trace
    while theirs is not None and theirs.tb_frame.f_code.co_filename.startswith(here):
        theirs = theirs.tb_next
    return theirs or trace
