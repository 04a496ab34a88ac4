"""The description of the API, with its problems and scopes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .documents import ProblemDocument
from .problems import KINDS, MEDIA_TYPE
from .route import ApiRoute

_ABOUT = """Durable pipelines on Celery: start runs, follow them, command them.

Send a key as `Authorization: Bearer mp_…`. Errors are problems (RFC 9457) whose `type` stays the same."""


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of *app*."""
    document = get_openapi(
        title="Milepost", version=app.version, description=_ABOUT, routes=app.routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = ProblemDocument.model_json_schema()
    problem["properties"]["type"]["examples"] = [kind.uri for kind in KINDS.values()]
    schemas["Problem"] = problem
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    told = {
        "description": "A problem",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for route in app.routes:
        for method in getattr(route, "methods", None) or ():
            operation = document["paths"].get(getattr(route, "path", ""), {}).get(method.lower())
            if operation is None:
                continue
            operation["responses"].pop("422", None)
            operation["responses"] |= {"4XX": told, "5XX": told}
            if isinstance(route, ApiRoute):
                operation["security"] = [{"key": []}]
                operation["x-scope"] = route.requires.scope.value
                operation["description"] += f"\n\nNeeds scope `{route.requires.scope}`."
    return document
