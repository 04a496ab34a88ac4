"""The library's errors, made again of the problems that the API answers with."""

from __future__ import annotations

from typing import Any

import httpx

from milepost.checkpointing import MilepostError, Misconfigured, Refused, TooLarge, Unavailable
from milepost.checkpointing.errors import CheckpointError, MissingKey, NotSerializable
from milepost.tasks import BudgetExceeded, Conflict, StateInvalid, TaskError

from .api.problems import BASE, OF_ERRORS

_CLASSES = {kind.slug: cls for cls, kind in reversed(OF_ERRORS)}
_OTHERS: dict[str, type[MilepostError]] = {
    "busy": Unavailable,
    "too-many-requests": Unavailable,
    "too-slow": Unavailable,
    "internal": Refused,
    "forbidden": Refused,
    "unauthorized": Refused,
}


def error_of(answer: httpx.Response) -> MilepostError:
    """Return the error that the answer stands for, with its data as attributes."""
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    slug = str(problem.get("type", "")).removeprefix(BASE)
    text = str(problem.get("detail") or f"{answer.url} answered {answer.status_code}.")
    fallback = Unavailable if answer.status_code in (408, 429, 503) else Misconfigured
    cls = _OTHERS.get(slug) or _CLASSES.get(slug, fallback)
    return _made(cls, text, problem)


def _made(cls: type[MilepostError], text: str, problem: dict[str, Any]) -> MilepostError:
    run_id = problem.get("run_id")
    if issubclass(cls, Conflict):
        return cls(text, run_id=str(run_id), status=problem.get("run_status"))
    if issubclass(cls, StateInvalid):
        stage, path = str(problem.get("stage", "")), str(problem.get("path", ""))
        return cls(text, stage=stage, path=path, run_id=run_id)
    if issubclass(cls, NotSerializable):
        return cls(text, path=str(problem.get("path", "")), run_id=run_id)
    if issubclass(cls, BudgetExceeded):
        return cls(text, unit=str(problem.get("unit", "")), run_id=run_id)
    if issubclass(cls, TooLarge):
        size, limit = problem.get("size_bytes", 0), problem.get("limit_bytes", 0)
        return cls(text, size_bytes=size, limit_bytes=limit, run_id=run_id)
    if issubclass(cls, MissingKey):
        return cls(text, key_name=str(problem.get("key_name", "")))
    if issubclass(cls, TaskError | CheckpointError):
        return cls(text, run_id=run_id)
    return cls(text)
