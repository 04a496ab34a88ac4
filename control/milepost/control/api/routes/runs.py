"""Runs: listed, looked at, waited for, and what they came to."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from milepost.tasks import Head, RunQuery

from ..arguments import CONDITIONAL, Reader, RunId
from ..bodies import RunListing
from ..documents import NoteDocument, Notes, RunDocument, RunsPage, StateDocument
from ..glances import Glance
from ..responses import answer, run_answer
from ..route import ApiRoute
from ..site import Here, Site

router = APIRouter(route_class=ApiRoute, tags=["runs"])


@router.get("/v1/runs", operation_id="listRuns", response_model=RunsPage)
async def list_runs(
    identity: Reader, site: Here, listing: Annotated[RunListing, Query()]
) -> Response:
    """List runs, youngest first.

    A page may have fewer runs than the limit, even none, and a cursor all the same.
    """

    def read() -> Response:
        page = site.app.runs.find(
            listing.query(identity.tenant), cursor=listing.cursor, limit=listing.limit
        )
        runs = tuple(RunDocument.of(head) for head in page.items)
        return answer(RunsPage.model_construct(items=runs, cursor=page.cursor))

    return await site.call(read)


@router.get(
    "/v1/runs/{run_id}",
    operation_id="getRun",
    response_model=RunDocument,
    openapi_extra=CONDITIONAL,
    responses={304: {"description": "It is as the client saw it."}},
)
async def get_run(run_id: RunId, identity: Reader, site: Here, request: Request) -> Response:
    """Tell how a run stands."""
    return run_answer(request, await site.glance(run_id, identity))


@router.get("/v1/runs/{run_id}/wait", operation_id="waitForRun", response_model=RunDocument)
async def wait_for_run(
    run_id: RunId,
    identity: Reader,
    site: Here,
    request: Request,
    timeout: Annotated[float, Query(ge=0, le=60, allow_inf_nan=False)] = 30.0,
) -> Response:
    """Answer when a run has ended, or needs a decision, or time is up: `ended` and `status` tell which."""
    head = (await site.glance(run_id, identity)).head
    if not _is_done(head) and timeout:
        with site.followers.taken(identity):
            head = await _wait(site, head, time.monotonic() + timeout)
    return run_answer(request, Glance.at(head))


def _is_done(head: Head) -> bool:
    return head.status.ended or head.is_parked


async def _wait(site: Site, head: Head, end: float) -> Head:
    # A run id may come to be another tenant's.
    query = RunQuery(tenant=head.tenant)
    async with site.feed.follow(query, run_id=head.run_id, current=head) as told:
        while not _is_done(head):
            try:
                event = await told.next(end - time.monotonic())
            except TimeoutError:
                break
            if event is None:
                break
            head = event.head
    return head


@router.get("/v1/runs/{run_id}/state", operation_id="getState", response_model=StateDocument)
async def get_state(run_id: RunId, identity: Reader, site: Here) -> Response:
    """Return the current state: the result, when the run has completed."""

    def read() -> Response:
        head = site.head(run_id, identity)
        checkpoint = site.app.checkpoints.get(head.key)
        document: dict[str, Any] = {
            "run_id": run_id,
            "status": head.status.value,
            "checkpoint_id": checkpoint.checkpoint_id,
            "stage": checkpoint.metadata.stage,
            "state": checkpoint.to_dict(site.app.types)["state"],
        }
        return Response(to_json(document), media_type="application/json")

    return await site.call(read)


@router.get("/v1/runs/{run_id}/notes", operation_id="listRunNotes", response_model=Notes)
async def list_run_notes(
    run_id: RunId,
    identity: Reader,
    site: Here,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> Response:
    """Tell who did what to a run, newest first."""

    def read() -> Response:
        notes = site.app.runs.notes_on(site.head(run_id, identity), limit)
        return answer(Notes(items=tuple(NoteDocument.of(note) for note in notes)))

    return await site.call(read)
