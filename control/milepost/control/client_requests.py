"""Requests to the HTTP API, repeated where that is harmless."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel

from milepost.checkpointing import Unavailable

from .client_errors import error_of

D = TypeVar("D", bound=BaseModel)
_PAUSE_SECONDS = 0.2


class Requests:
    """Connections to one server, with a key; see `Client`."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = 10.0,
        retries: int = 3,
        http: httpx.Client | None = None,
    ) -> None:
        self._retries = retries
        self._http = http or httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=timeout
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _read(
        self,
        path: str,
        kind: type[D],
        asked: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> D:
        answer = self._send("GET", path, repeat=True, params=asked, timeout=timeout)
        return kind.model_validate_json(answer.content)

    def _post(
        self,
        path: str,
        body: Any,
        kind: type[D],
        *,
        key: str | None = None,
        repeat: bool = False,
        timeout: float | None = None,
    ) -> D:
        headers = {} if key is None else {b"Idempotency-Key": key.encode()}
        answer = self._send(
            "POST", path, repeat=repeat, json=body, headers=headers, timeout=timeout
        )
        return kind.model_validate_json(answer.content)

    def _send(
        self,
        method: str,
        path: str,
        *,
        repeat: bool = False,
        timeout: float | None = None,
        **request: Any,
    ) -> httpx.Response:
        if timeout is not None:
            request["timeout"] = timeout
        for left in range(self._retries if repeat else 0, -1, -1):
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TransportError as error:
                if not left:
                    raise Unavailable(f"{self._http.base_url} does not answer: {error}") from error
            else:
                if answer.status_code not in (429, 503) or not left:
                    break
            time.sleep(_PAUSE_SECONDS * 2 ** (self._retries - left))
        if answer.is_error:
            raise error_of(answer)
        return answer


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is given of *values*, times as text."""
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in values.items()
        if value is not None
    }


def listed(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return conditions as a body has them."""
    found = plain(query)
    if isinstance(found.get("status"), str):
        found["status"] = [found["status"]]
    return found
