"""Whether a request was sent by one of our own pages, by the origin that browsers name."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from starlette.requests import HTTPConnection

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_OF_PAGES = {"ws": "http", "wss": "https"}


def is_own_origin(connection: HTTPConnection) -> bool:
    """Whether ``Origin`` is where *connection* came in: scheme, host and port."""
    origin = urlsplit(connection.headers.get("origin", ""))
    scheme = connection.scope["scheme"]
    asked = urlsplit(f"{_OF_PAGES.get(scheme, scheme)}://{connection.headers.get('host', '')}")
    try:
        return bool(origin.hostname) and _place(origin) == _place(asked)
    except ValueError:
        # A port that is no number.
        return False


def _place(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)
