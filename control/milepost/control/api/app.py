"""The HTTP API as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from milepost.checkpointing import MilepostError
from milepost.tasks import Milepost

from .. import dashboard
from . import openapi
from .front import Front
from .metrics import ApiMetrics
from .problems import Problem
from .responses import on_http_error, on_invalid, on_milepost_error, on_problem
from .routes import (
    bulk,
    checkpoints,
    commands,
    events,
    failures,
    fleet,
    health,
    keys,
    notes,
    pipelines,
    runs,
)
from .settings import ApiSettings
from .site import Site


def create_app(app: Milepost, settings: ApiSettings | None = None) -> FastAPI:
    """Return the API of *app* for any ASGI server; `milepost api` runs it with limits that only a server has.

    Raises:
        Unavailable: A store does not answer.
    """
    settings = settings or ApiSettings()
    site, metrics = Site(app, settings), ApiMetrics()
    middleware = [
        Middleware(Front, metrics=metrics),
        Middleware(dashboard.SessionIdentity, host=site),
    ]
    if settings.api_trusted_proxies:
        proxies = [str(network) for network in settings.api_trusted_proxies]
        # The outermost: all others go by what the client really asked.
        middleware.insert(0, Middleware(ProxyHeadersMiddleware, trusted_hosts=proxies))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await site.close()

    api = FastAPI(
        title="Milepost",
        version=version("milepost"),
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=middleware,
        exception_handlers={
            Problem: on_problem,
            MilepostError: on_milepost_error,
            HTTPException: on_http_error,
            RequestValidationError: on_invalid,
        },
    )
    api.state.site = site
    api.state.metrics = metrics
    routers = [runs, checkpoints, pipelines, commands, bulk, failures, notes, keys, fleet]
    tables = [module.router for module in routers]
    tables += [events.router, events.sockets, health.router, health.guarded]
    tables.append(dashboard.router(site))
    if settings.api_metrics_public:
        # Before the one that needs a key.
        tables.insert(0, health.open_metrics)
    for table in tables:
        # As they are: including them would wrap each, which every request pays for.
        api.router.routes.extend(table.routes)
    # FastAPI's own way to say what it serves; mypy takes no other method for a method.
    api.openapi = lambda: openapi.describe(api)  # type: ignore[method-assign]
    return api
