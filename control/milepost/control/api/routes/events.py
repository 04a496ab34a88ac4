"""What happens to runs, as it happens: Server-Sent Events, and the same over WebSockets."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from milepost.checkpointing import MilepostError
from milepost.tasks import Head, RunQuery

from ..arguments import EVENTS, LastEventId, Reader, RunId
from ..bodies import RunFilter
from ..event_stream import DROPPED, END, EventStream, events
from ..feed import Subscription
from ..identity import Identity, requires
from ..keys import Scope
from ..origin import is_own_origin
from ..problems import INVALID, Problem, problem_of
from ..route import ApiRoute
from ..site import Here, Site

router = APIRouter(route_class=ApiRoute, tags=["events"])
sockets = APIRouter()
_READER = requires(Scope.READ)
_SIGN_IN_SECONDS = 10.0
_POLICY, _TRY_LATER, _GONE = 1008, 1013, 4404


@router.get(
    "/v1/runs/{run_id}/events",
    operation_id="followRun",
    response_class=Response,
    responses=EVENTS,
)
async def follow_run(
    run_id: RunId, identity: Reader, site: Here, last_event_id: LastEventId = None
) -> Response:
    """Follow a run: how it stands now and whenever that has changed, until it has ended (event `end`)."""
    head = await site.call(site.head, run_id, identity)
    # A run id may come to be another tenant's.
    query = RunQuery(tenant=identity.tenant or None)
    return await _stream(site, identity, query, head, last_event_id)


@router.get("/v1/events", operation_id="followRuns", response_class=Response, responses=EVENTS)
async def follow_runs(
    identity: Reader,
    site: Here,
    runs: Annotated[RunFilter, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Follow all runs that the conditions meet, from now on.

    The store is looked at twice a second: a run that moves several times in between is shown as it is then.
    """
    return await _stream(site, identity, runs.query(identity.tenant), None, last_event_id)


async def _stream(
    site: Site, identity: Identity, query: RunQuery, head: Head | None, after: str | None
) -> Response:
    run_id = head.run_id if head else None
    async with AsyncExitStack() as stack:
        stack.enter_context(site.followers.taken(identity))
        told = await stack.enter_async_context(
            site.feed.follow(query, run_id=run_id, current=head, after=after)
        )
        return EventStream(site, identity, stack.pop_all(), told)


@sockets.websocket("/v1/runs/{run_id}/ws")
async def follow_run_by_socket(socket: WebSocket, run_id: str) -> None:
    """Follow a run; messages are ``{"event": "run", "id": …, "data": …}``."""
    await _serve(socket, run_id)


@sockets.websocket("/v1/ws")
async def follow_runs_by_socket(socket: WebSocket) -> None:
    """Follow all runs that the conditions in the query meet."""
    await _serve(socket, None)


async def _serve(socket: WebSocket, run_id: str | None) -> None:
    site: Site = socket.app.state.site
    if not _is_own(socket):
        await socket.close(_POLICY)
        return
    try:
        identity = await _signed_in(site, socket)
        if identity is None:
            return
        query, head = RunQuery(tenant=identity.tenant or None), None
        if run_id is None:
            query = _filter(socket).query(identity.tenant)
        else:
            head = await site.call(site.head, run_id, identity)
        following = site.feed.follow(query, run_id=run_id, current=head)
        with site.followers.taken(identity):
            async with following as told:
                await _send(site, socket, identity, told)
    except (Problem, MilepostError) as error:
        problem = error if isinstance(error, Problem) else problem_of(error)
        code = _GONE if problem.kind.status == 404 else _POLICY
        code = _TRY_LATER if problem.kind.status in (429, 503) else code
        await socket.close(code, str(problem)[:100])
    except (WebSocketDisconnect, RuntimeError):
        # It went away in the middle of something.
        return


async def _send(site: Site, socket: WebSocket, identity: Identity, told: Subscription) -> None:
    async def pump() -> None:
        async for event in events(site, identity, told):
            if event is None:
                continue
            shown = {"event": "run", "id": site.feed.id_of(event)}
            start = json.dumps(shown)[:-1]
            await socket.send_text(f'{start}, "data": {event.document.decode()}}}')
            if told.run_id is not None and event.head.status.ended:
                await socket.send_text(json.dumps({"event": END}))
                return
        if told.dropped:
            await socket.send_text(json.dumps({"event": DROPPED}))

    async def listen() -> None:
        while True:
            # Clients have nothing to say; this is how their going away is noticed.
            await socket.receive_text()

    tasks = [asyncio.create_task(pump()), asyncio.create_task(listen())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if not tasks[0].cancelled():
        await socket.close()


async def _signed_in(site: Site, socket: WebSocket) -> Identity | None:
    """Return who asks: by the header, or by a first message ``{"key": "mp_…"}``."""
    identity = await site.identities.of_header(socket)
    await socket.accept()
    if identity is None:
        try:
            async with asyncio.timeout(_SIGN_IN_SECONDS):
                said: Any = json.loads(await socket.receive_text())
            key = said.get("key") if isinstance(said, dict) else None
            identity = await site.identities.of_text(key) if isinstance(key, str) else None
        except (TimeoutError, ValueError, RecursionError):
            identity = None
    try:
        site.rates.take(_READER.check(identity))
    except Problem as problem:
        await socket.close(_POLICY, str(problem)[:100])
        return None
    return identity


def _filter(socket: WebSocket) -> RunFilter:
    asked = socket.query_params
    values: dict[str, Any] = {name: asked[name] for name in asked if name != "status"}
    try:
        return RunFilter(**values, status=asked.getlist("status"))
    except ValueError:
        raise Problem(INVALID, "The conditions cannot be read.") from None


def _is_own(socket: WebSocket) -> bool:
    """Whether no page of another site has opened the socket: browsers say who did."""
    return "origin" not in socket.headers or is_own_origin(socket)
