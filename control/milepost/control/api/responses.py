"""Answers: documents as JSON, and problems."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from milepost.checkpointing import MilepostError

from .documents import Document
from .etag import is_known
from .glances import Glance
from .problems import INVALID, MEDIA_TYPE, Problem, http_problem, problem_of

logger = logging.getLogger("milepost.api")
_SHOWN = 20


def answer(
    document: Document, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return *document* as JSON; it is ours and is not looked at again."""
    return Response(to_json(document), status, headers, "application/json")


def run_answer(
    request: Request,
    glance: Glance,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a run; 304 without it if the client has it."""
    told = {"ETag": glance.tag, "Cache-Control": "private, no-cache", **(headers or {})}
    known = request.headers.get("if-none-match")
    if known is not None and request.method == "GET" and is_known(known, glance.tag):
        return Response(status_code=304, headers=told)
    return Response(glance.body, status, told, "application/json")


def problem_response(problem: Problem) -> Response:
    """Return *problem* as RFC 9457 has it."""
    body = json.dumps(problem.to_dict(), default=str).encode()
    return Response(body, problem.kind.status, problem.headers, MEDIA_TYPE)


async def on_problem(request: Request, error: Exception) -> Response:
    """Answer a `Problem`."""
    assert isinstance(error, Problem)
    return problem_response(error)


async def on_milepost_error(request: Request, error: Exception) -> Response:
    """Answer an error of the library; what is no client's affair is logged."""
    assert isinstance(error, MilepostError)
    problem = problem_of(error)
    if problem.kind.status >= 500:
        logger.error("%s %s: %s", request.method, request.url.path, error)
    return problem_response(problem)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: unknown paths, wrong methods."""
    assert isinstance(error, HTTPException)
    return problem_response(http_problem(error.status_code, error.headers))


async def on_invalid(request: Request, error: Exception) -> Response:
    """Answer a request of the wrong shape; what was sent is not repeated, it may hold secrets."""
    assert isinstance(error, RequestValidationError)
    found = [
        {"at": ".".join(str(part) for part in each["loc"])[:200], "message": each["msg"][:300]}
        for each in error.errors()[:_SHOWN]
    ]
    first = found[0] if found else {"at": "", "message": "it is not valid"}
    detail = f"{first['at']}: {first['message']}"
    return problem_response(Problem(INVALID, detail, {"errors": found}))
