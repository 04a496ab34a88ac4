"""A route of the API: nobody comes in unasked, and no body is read that nobody may send."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from milepost.checkpointing.ids import valid_name

from .identity import Identity, Requires
from .problems import INVALID, MALFORMED, TOO_LARGE, TOO_SLOW, UNSUPPORTED, Problem
from .site import Site, site_of
from .strict_json import parse_json

_IN_THREAD = 64 * 1024
"""Bodies from this size on are parsed where they keep nobody waiting."""


class PublicRoute(APIRoute):
    """A route that anybody may ask, said by its class so that it is said on purpose."""


class ApiRoute(APIRoute):
    """A route that needs a key with a scope.

    Raises:
        TypeError: None of its dependencies is made by `requires`: it would be open to all.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.requires = _requires(self)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that first looks at who asks, then at what."""
        handle = super().get_route_handler()
        direct = _direct(self)
        required = _requires(self)
        known = _query_names(self.dependant)
        takes_body = self.body_field is not None
        may_have_body = not {"GET"} & (self.methods or set())

        async def guarded(request: Request) -> Response:
            site: Site = request.app.state.site
            identity = await required(request)
            site.rates.take(identity)
            request.state.identity = identity
            if request.scope["query_string"] and (unknown := {*request.query_params} - known):
                raise Problem(INVALID, f"There is no parameter {min(unknown)[:100]!a}.")
            if may_have_body:
                request = StrictRequest(request.scope, request.receive)
                await request.load(site, takes_body)
            if direct is not None:
                return await direct(request, site, identity)
            return await handle(request)

        return guarded


class StrictRequest(Request):
    """A request whose body is read within limits, and parsed by `strict_json`."""

    _value: Any = None

    async def load(self, site: Site, takes_body: bool) -> None:
        """Read and parse the body.

        Raises:
            Problem: It is too large, comes too slowly, is no JSON, or there should be none.
        """
        settings = site.settings
        try:
            async with asyncio.timeout(settings.api_body_seconds):
                body = await self._read(settings.api_body_bytes)
        except TimeoutError:
            raise Problem(
                TOO_SLOW,
                f"The body has to arrive within {settings.api_body_seconds:g} s.",
                headers={"Connection": "close"},
            ) from None
        except ClientDisconnect:
            raise Problem(MALFORMED, "The body ended early.") from None
        self._body = body
        if not body:
            return
        if self.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise Problem(UNSUPPORTED, "Send the body as Content-Type: application/json.")
        depth = settings.api_body_depth
        if len(body) < _IN_THREAD:
            self._value = parse_json(body, depth)
        else:
            self._value = await site.call(parse_json, body, depth)
        if not takes_body and self._value != {}:
            raise Problem(INVALID, "This takes no body.")

    async def json(self) -> Any:
        """Return what the body says."""
        return self._value

    async def _read(self, limit: int) -> bytes:
        announced = self.headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > limit:
            raise _too_large(limit)
        parts, size = [], 0
        async for part in self.stream():
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
        return b"".join(parts)


def _direct(
    route: APIRoute,
) -> Callable[[Request, Site, Identity], Coroutine[Any, Any, Response]] | None:
    """Return how to call an endpoint that takes only names in the path, who asks, the site and the request.

    Working that out anew for each request, as FastAPI does, takes longer than all else it does.
    """
    dependant, endpoint = route.dependant, route.endpoint
    if dependant.query_params or dependant.header_params or dependant.body_params:
        return None
    calls = {str(each.name): each.call for each in dependant.dependencies}
    if any(not (isinstance(call, Requires) or call is site_of) for call in calls.values()):
        return None
    names = [field.alias for field in dependant.path_params]
    asks = [name for name, call in calls.items() if isinstance(call, Requires)]
    sites = [name for name, call in calls.items() if call is site_of]
    requests = [dependant.request_param_name] if dependant.request_param_name else []

    async def call(request: Request, site: Site, identity: Identity) -> Response:
        given: dict[str, Any] = {
            name: valid_name(request.path_params[name], name) for name in names
        }
        given |= dict.fromkeys(asks, identity) | dict.fromkeys(sites, site)
        answered: Response = await endpoint(**given, **dict.fromkeys(requests, request))
        return answered

    return call


def _too_large(limit: int) -> Problem:
    return Problem(TOO_LARGE, f"A body may have {limit:,} bytes at most.", {"limit_bytes": limit})


def _requires(route: APIRoute) -> Requires:
    found = [d.call for d in route.dependant.dependencies if isinstance(d.call, Requires)]
    if not found:
        raise TypeError(f"The route {route.path} says not who may ask it; use requires(Scope.…).")
    return found[0]


def _query_names(dependant: Dependant) -> set[str]:
    names: set[str] = set()
    for field in dependant.query_params:
        model = field.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            names |= {*model.model_fields}
        else:
            names.add(field.alias)
    return names.union(*(_query_names(each) for each in dependant.dependencies))
