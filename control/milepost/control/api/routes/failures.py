"""What went wrong, by its causes."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from milepost.tasks import Head, RunQuery, RunStatus
from milepost.tasks.runs import RunStore
from milepost.tasks.runs.listing import ErrorGroup

from ..arguments import Reader
from ..documents import Failures, GroupDocument, RunDocument
from ..responses import answer
from ..route import ApiRoute
from ..site import Here

router = APIRouter(route_class=ApiRoute, tags=["failures"])
_PAGE = 500
_GROUPED = 10_000
"""How many failed runs of a tenant are grouped at most: for tenants the store keeps no groups."""


@router.get("/v1/failures", operation_id="listFailures", response_model=Failures)
async def list_failures(
    identity: Reader, site: Here, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> Response:
    """List failed runs by the cause they share, and unfinished ones that keep losing their workers."""

    def read() -> Response:
        runs, tenant = site.app.runs, identity.tenant
        groups = _groups_of(runs, tenant)[:limit] if tenant else runs.groups(limit)
        # Others' runs are taken out afterwards, so more are asked for.
        struggling = runs.struggling(_GROUPED if tenant else limit)
        mine = [head for head in struggling if tenant in ("", head.tenant)][:limit]
        return answer(
            Failures.model_construct(
                groups=tuple(GroupDocument.of(group) for group in groups),
                struggling=tuple(RunDocument.of(head) for head in mine),
            )
        )

    return await site.call(read)


def _groups_of(runs: RunStore, tenant: str) -> list[ErrorGroup]:
    query = RunQuery.of(RunStatus.FAILED, tenant=tenant)
    heads: list[Head] = []
    cursor: str | None = None
    while len(heads) < _GROUPED:
        page = runs.find(query, cursor=cursor, limit=_PAGE)
        heads += page.items
        if (cursor := page.cursor) is None:
            break
    heads.sort(key=lambda head: (head.error_group, head.finished_at))
    groups = []
    for name, found in groupby(heads, key=lambda head: head.error_group):
        same = [*found]
        first, last = same[0], same[-1]
        groups.append(ErrorGroup(name, len(same), first.finished_at, last.finished_at, last))
    return sorted(groups, key=lambda group: group.last_at, reverse=True)
