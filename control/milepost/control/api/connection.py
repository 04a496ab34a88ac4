"""A connection of the server: one that does not get on is closed, whichever side it stalls on."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def connection_class(header_seconds: float, stall_seconds: float) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with limits for what uvicorn waits for without end.

    Args:
        header_seconds: Until the headers of a request are there, from the connection's or its own first byte.
        stall_seconds: Until a client reads on, when all buffers towards it are full.
    """

    class Connection(HttpToolsProtocol):
        _headers: asyncio.TimerHandle | None = None
        _stalled: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._headers = self.loop.call_later(header_seconds, transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            _cancel(self._headers)
            _cancel(self._stalled)
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            _cancel(self._headers)
            self._headers = self.loop.call_later(header_seconds, self.transport.abort)

        def on_headers_complete(self) -> None:
            _cancel(self._headers)
            super().on_headers_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            _cancel(self._stalled)
            self._stalled = self.loop.call_later(stall_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            _cancel(self._stalled)
            super().resume_writing()

    return Connection


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
