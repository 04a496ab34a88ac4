"""What keeps pages of others out: headers on every answer, and where a form came from."""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.responses import Response

from ..api.origin import is_own_origin

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def protect(response: Response) -> Response:
    """Add to an answer what it lacks of the headers that every answer has."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def is_ours(request: Request) -> bool:
    """Whether a form was sent from a page of this dashboard, by what the browser says of it."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return is_own_origin(request)


def same(token: str, expected: str) -> bool:
    """Compare two secrets, taking the same time wherever they differ."""
    return hmac.compare_digest(token.encode(), expected.encode())
