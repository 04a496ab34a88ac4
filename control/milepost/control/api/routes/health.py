"""Whether the API is well, its figures, and its description."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..arguments import FleetReader, Reader
from ..documents import Health
from ..metrics import CONTENT_TYPE, ApiMetrics
from ..responses import answer
from ..route import ApiRoute, PublicRoute
from ..site import Here

router = APIRouter(route_class=PublicRoute, tags=["health"])
guarded = APIRouter(route_class=ApiRoute, tags=["health"])
open_metrics = APIRouter(route_class=PublicRoute, tags=["health"])
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("/healthz", operation_id="isAlive", response_model=Health)
async def is_alive() -> Response:
    """Say that the process answers."""
    return answer(Health(status="ok"))


@router.get("/readyz", operation_id="isReady", response_model=Health)
async def is_ready(site: Here) -> Response:
    """Say that the run store answers, too; 503 if not."""
    await site.call(site.app.runs.kept_one, "ready", "ready")
    return answer(Health(status="ok"))


@guarded.get("/metrics", operation_id="getMetrics", response_class=Response, responses=_TEXT)
async def get_metrics(identity: FleetReader, site: Here, request: Request) -> Response:
    """Return figures for Prometheus."""
    return await _page(site, request)


@open_metrics.get("/metrics", operation_id="getMetrics", response_class=Response, responses=_TEXT)
async def get_open_metrics(site: Here, request: Request) -> Response:
    """Return figures for Prometheus, to anybody."""
    return await _page(site, request)


async def _page(site: Here, request: Request) -> Response:
    metrics: ApiMetrics = request.app.state.metrics
    return Response(await site.call(metrics.page, site), media_type=CONTENT_TYPE)


@guarded.get("/v1/openapi.json", operation_id="getOpenApi", include_in_schema=False)
async def get_openapi(identity: Reader, request: Request) -> Response:
    """Return the description of this API."""
    return JSONResponse(request.app.openapi())
