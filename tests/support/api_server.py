"""The HTTP API on a real server, in a thread of the tests' own process."""

from __future__ import annotations

import threading
from typing import Any, Self

import httpx

from milepost.control.api.app import create_app
from milepost.control.api.keys import Key, Keys, Scope
from milepost.control.api.server import ApiServer as Server
from milepost.control.api.server import server_config
from milepost.control.api.settings import ApiSettings
from milepost.control.api.site import Site
from milepost.control.client import Client
from milepost.tasks import Milepost

from .ports import free_port
from .waiting import eventually


class ApiServer:
    """Serves *app* on a free loopback port, with uvicorn as `milepost api` runs it."""

    def __init__(self, app: Milepost, **settings: Any) -> None:
        self.app = app
        self.keys = Keys(app.runs)
        self.port = free_port()
        self.settings = ApiSettings(**settings)
        self.served = create_app(app, self.settings)
        config = server_config(self.served, self.settings, host="127.0.0.1", port=self.port)
        self._server = Server(config)
        self._thread = threading.Thread(target=self._server.run, name="api", daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def site(self) -> Site:
        """What its routes share."""
        site: Site = self.served.state.site
        return site

    def key(self, scope: Scope = Scope.ADMIN, **options: Any) -> str:
        """Return a new key."""
        return self.keys.create(f"{scope}-user", scope, **options)[0]

    def made(self, scope: Scope = Scope.ADMIN, **options: Any) -> tuple[str, Key]:
        """Return a new key and what is kept of it."""
        return self.keys.create(f"{scope}-user", scope, **options)

    def http(self, key: str | None = None, **options: Any) -> httpx.Client:
        """Return a bare client that sends *key*, by default a new admin's."""
        key = self.key() if key is None else key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, **options)

    def client(self, scope: Scope = Scope.ADMIN, **options: Any) -> Client:
        """Return the typed client with a new key."""
        return Client(self.url, self.key(scope, **options))

    def __enter__(self) -> Self:
        self._thread.start()
        eventually(lambda: self._server.started, what="the API's start")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(15)
        assert not self._thread.is_alive(), "the API does not end"
