"""The audit trail."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from milepost.tasks.runs import RunStore
from milepost.tasks.runs.registry import NOTES_OF_ALL, Note, is_about

from ..arguments import Reader
from ..documents import NoteDocument, Notes
from ..responses import answer
from ..route import ApiRoute
from ..site import Here

router = APIRouter(route_class=ApiRoute, tags=["notes"])


@router.get("/v1/notes", operation_id="listNotes", response_model=Notes)
async def list_notes(
    identity: Reader, site: Here, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> Response:
    """Tell who did what to runs, newest first; the last ten thousand things are kept.

    Keys that are bound to a tenant see what was done to its runs, as long as those are kept.
    """

    def read() -> Response:
        runs = site.app.runs
        if identity.tenant:
            found = _of_tenant(runs, runs.notes(None, NOTES_OF_ALL), identity.tenant, limit)
        else:
            found = runs.notes(None, limit)
        return answer(Notes(items=tuple(NoteDocument.of(note) for note in found)))

    return await site.call(read)


def _of_tenant(runs: RunStore, notes: Iterable[Note], tenant: str, limit: int) -> list[Note]:
    about = [note for note in notes if note.run_id]
    ids = [*dict.fromkeys(note.run_id for note in about)]
    heads = dict(zip(ids, runs.get_many(ids), strict=True))
    found = []
    for note in about:
        head = heads[note.run_id]
        if head and head.tenant == tenant and is_about(note, head):
            found.append(note)
    return found[:limit]
