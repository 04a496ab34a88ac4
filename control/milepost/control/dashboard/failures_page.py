"""Failures by what they share, and their retry: one run first, then the others."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from milepost.checkpointing.ids import valid_name
from milepost.tasks import Head, RunQuery, RunStatus
from milepost.tasks.runs.listing import ErrorGroup

from .run_page import failure
from .visit import Visit

_SHOWN = 20
_PAGE = 500
_MOST_PAGES = 20


def failures_page(visit: Visit) -> Response:
    """Show the groups, and the runs whose stages kill their workers."""
    groups = visit.app.runs.groups() if visit.tenant is None else _groups_of(visit, visit.tenant)
    struggling = [
        head for head in visit.app.runs.struggling(50) if visit.tenant in (None, head.tenant)
    ]
    return visit.page(
        "failures.html",
        groups=[(group, failure(group.example)) for group in groups],
        struggling=struggling,
    )


def failure_page(visit: Visit) -> Response:
    """Show one group, and how its canary does."""
    group = valid_name(visit.path("group"), "error group")
    query = RunQuery(frozenset({RunStatus.FAILED}), group=group, tenant=visit.tenant)
    page = visit.app.runs.find(query, limit=_SHOWN)
    known = [found for found in visit.app.runs.groups() if found.group == group]
    name = visit.query.get("canary", "")
    canary = visit.head_of(name) if name else None
    if not page.items and canary is None:
        return visit.page(
            "problem.html",
            404,
            title="No such failure",
            message="No run is failed with this error: they were retried, cancelled or deleted.",
        )
    count = known[0].count if known and visit.tenant is None else len(page.items)
    return visit.page(
        "failure.html",
        group=group,
        heads=page.items,
        count=count,
        is_count_exact=visit.tenant is None or page.cursor is None,
        known=known[0] if known and visit.tenant is None else None,
        failure=failure(page.items[0]) if page.items else None,
        canary=canary,
        canary_failure=failure(canary) if canary else None,
    )


def _groups_of(visit: Visit, tenant: str) -> list[ErrorGroup]:
    """Group the failed runs of one tenant; the store keeps groups of all tenants together."""
    found: dict[str, list[Head]] = {}
    query = RunQuery(frozenset({RunStatus.FAILED}), tenant=tenant)
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = visit.app.runs.find(query, cursor=cursor, limit=_PAGE)
        for head in page.items:
            found.setdefault(head.error_group, []).append(head)
        if (cursor := page.cursor) is None:
            break
    groups = [_group(name, heads) for name, heads in found.items() if name]
    return sorted(groups, key=lambda group: group.last_at, reverse=True)


def _group(name: str, heads: Sequence[Head]) -> ErrorGroup:
    last = max(heads, key=lambda head: head.finished_at)
    first_at = min(head.finished_at for head in heads)
    return ErrorGroup(name, len(heads), first_at, last.finished_at, last)
