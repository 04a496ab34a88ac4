"""The dashboard on a port of its own, without the rest of the API."""

from __future__ import annotations

import threading
from typing import Any, Self

import uvicorn
from fastapi import FastAPI

from milepost.control.api.keys import Keys, Scope
from milepost.control.dashboard import Site, routes
from milepost.tasks import Milepost

from .ports import free_port
from .server import Server
from .waiting import eventually


class DashboardSite(Server):
    """Serves the dashboard of *app* from a thread of this process."""

    def __init__(self, app: Milepost, fleet: Any = None) -> None:
        self.app = app
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        api = FastAPI(openapi_url=None)
        self.site = Site(app, fleet)
        api.include_router(routes(self.site))
        config = uvicorn.Config(api, host="127.0.0.1", port=self.port, log_level="warning")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def start(self) -> Self:
        """Start, and return when it answers."""
        self._thread.start()
        eventually(lambda: self._server.started, 10, "the dashboard's start")
        return self

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(10)

    def key(self, scope: Scope = Scope.OPERATE, name: str = "ann", **options: Any) -> str:
        """Make a key and return its text."""
        return Keys(self.app.runs).create(name, scope, **options)[0]
