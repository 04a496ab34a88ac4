"""The checkpoints of a run."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic_core import to_json
from starlette.responses import Response

from milepost.checkpointing import CheckpointKey, Misconfigured
from milepost.checkpointing.errors import CheckpointError

from ..arguments import PathName, Reader, RunId
from ..bodies import History
from ..documents import CheckpointDocument, CheckpointsPage
from ..responses import answer
from ..route import ApiRoute
from ..site import Here

router = APIRouter(route_class=ApiRoute, tags=["checkpoints"])


@router.get(
    "/v1/runs/{run_id}/checkpoints",
    operation_id="listCheckpoints",
    response_model=CheckpointsPage,
)
async def list_checkpoints(
    run_id: RunId, identity: Reader, site: Here, history: Annotated[History, Query()]
) -> Response:
    """List what is known of a run's checkpoints, the last first, without their states."""

    def read() -> Response:
        head = site.head(run_id, identity)
        manager, kind = site.app.checkpoints, history.series
        if history.cursor is not None:
            _check_cursor(head.run_id, history.cursor, kind)
        page = manager.store.history(run_id, kind, cursor=history.cursor, limit=history.limit)
        found = tuple(manager.serializer.metadata(e.key, e.header) for e in page.items)
        return answer(CheckpointsPage.model_construct(items=found, cursor=page.cursor))

    return await site.call(read)


def _check_cursor(run_id: str, cursor: str, kind: str) -> None:
    try:
        key = CheckpointKey.from_path(run_id, cursor)
    except CheckpointError:
        key = None
    if key is None or key.kind != kind or key.lane != "main":
        raise Misconfigured("The cursor is none that a listing of checkpoints has given.")


@router.get(
    "/v1/runs/{run_id}/checkpoints/{checkpoint_id}",
    operation_id="getCheckpoint",
    response_model=CheckpointDocument,
)
async def get_checkpoint(
    run_id: RunId, checkpoint_id: PathName, identity: Reader, site: Here
) -> Response:
    """Return one checkpoint of a run with its state."""

    def read() -> Response:
        site.head(run_id, identity)
        checkpoint = site.app.checkpoints.restore_from(checkpoint_id, run_id)
        return Response(to_json(checkpoint.to_dict(site.app.types)), media_type="application/json")

    return await site.call(read)
