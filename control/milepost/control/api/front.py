"""The outermost layer: headers that keep browsers in check, figures, and an answer whatever happens."""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .metrics import ApiMetrics
from .problems import INTERNAL, Problem
from .responses import problem_response

logger = logging.getLogger("milepost.api")
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}


class Front:
    """Serves *app*; what it does not say of the headers is said here."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers: list[Any] = message.setdefault("headers", [])
                there = {name.lower() for name, _ in headers}
                headers += [pair for pair in _HEADERS.items() if pair[0] not in there]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            logger.exception("%s %s failed.", scope["method"], scope["path"])
            if status:
                raise
            await problem_response(Problem(INTERNAL))(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "")
            self._metrics.count(route, scope["method"], status, time.perf_counter() - began)
