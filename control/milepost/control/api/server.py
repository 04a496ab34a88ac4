"""The server that runs the API, with the limits that only a server has."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from .connection import connection_class
from .settings import ApiSettings

_GRACE_SECONDS = 5
_MESSAGE_BYTES = 4096


def server_config(
    served: FastAPI,
    settings: ApiSettings,
    *,
    host: str,
    port: int,
    loglevel: str = "warning",
    access_log: bool = False,
) -> uvicorn.Config:
    """Return how uvicorn serves the API."""
    return uvicorn.Config(
        served,
        host=host,
        port=port,
        loop="uvloop",
        http=connection_class(settings.api_header_seconds, settings.api_stall_seconds),
        ws="websockets-sansio",
        ws_max_size=_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        log_level=loglevel.lower(),
        access_log=access_log,
        server_header=False,
        # The application looks at them itself, whatever server it runs in: see `api_trusted_proxies`.
        proxy_headers=False,
        limit_concurrency=settings.api_connections,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


class ApiServer(uvicorn.Server):
    """Uvicorn, but what takes long is ended when it is told to stop: it waits for whatever has not ended."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End streams and bulk commands, let requests finish, and stop."""
        app = self.config.app
        assert isinstance(app, FastAPI)
        await app.state.site.close()
        await super().shutdown(sockets)
