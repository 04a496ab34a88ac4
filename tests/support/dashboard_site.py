"""The dashboard on a port of its own, without the rest of the API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any, Self

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from milepost.control.api.keys import Key, Keys, Scope
from milepost.control.dashboard import SessionIdentity, Site, router, routes
from milepost.control.dashboard.bulk_jobs import BulkJobs
from milepost.control.dashboard.doorkeeper import Holder
from milepost.tasks import Milepost

from .ports import free_port
from .server import Server
from .waiting import eventually


class StubIdentity:
    """Who has a key."""

    def __init__(self, name: str, scope: Scope, tenant: str, key_id: str) -> None:
        self.name = name
        self.scope = scope
        self.tenant = tenant
        self.key_id = key_id


class StubHost:
    """What the dashboard is told by the API that serves it: its keys, and one of its own with a code."""

    def __init__(self, app: Milepost) -> None:
        self.app = app
        self.identities = self
        self.codes = {"once"}
        self.jobs = BulkJobs(app)

    async def of_text(self, text: str) -> Holder | None:
        """Return who has the key that *text* is."""
        key = Keys(self.app.runs).verify(text)
        return _holder(key)

    async def of_key_id(self, key_id: str) -> Holder | None:
        """Return who has the key with this id."""
        if key_id == "local":
            return StubIdentity("local", Scope.ADMIN, "", "local")
        key = Keys(self.app.runs).find(key_id)
        return _holder(key)

    def redeem(self, code: str) -> Holder | None:
        """Return whom a code signs in, once."""
        if code not in self.codes:
            return None
        self.codes.remove(code)
        return StubIdentity("local", Scope.ADMIN, "", "local")


class DashboardSite(Server):
    """Serves the dashboard of *app* from a thread of this process.

    Args:
        hosted: As the API does: with its identities, and events of runs.
    """

    def __init__(self, app: Milepost, fleet: Any = None, *, hosted: bool = False) -> None:
        self.app = app
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.site = Site(app, fleet)
        api = FastAPI(openapi_url=None)
        if hosted:
            host = StubHost(app)
            api.add_middleware(SessionIdentity, host=host)
            api.add_api_route("/v1/runs/{run_id}/events", self._events, methods=["GET"])
            api.add_api_route("/v1/me", _me, methods=["GET", "POST"])
            api.include_router(router(host))
        else:
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

    async def _events(self, request: Request) -> Response:
        if getattr(request.state, "identity", None) is None:
            return JSONResponse({}, 401)
        run_id = request.path_params["run_id"]

        async def changes() -> AsyncIterator[str]:
            before = None
            while not self._server.should_exit:
                head = await asyncio.to_thread(self.app.runs.get, run_id)
                if head != before:
                    yield "event: run\ndata: {}\n\n"
                before = head
                if head is None or head.status.ended:
                    yield "event: end\ndata: {}\n\n"
                    return
                await asyncio.sleep(0.05)

        return StreamingResponse(changes(), media_type="text/event-stream")


def _holder(key: Key | None) -> Holder | None:
    return None if key is None else StubIdentity(key.name, key.scope, key.tenant, key.id)


async def _me(request: Request) -> Response:
    identity = getattr(request.state, "identity", None)
    return JSONResponse({"name": identity.name if identity else None})
