"""The list of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from milepost.checkpointing import InvalidName, Misconfigured
from milepost.checkpointing.ids import valid_name
from milepost.tasks import Command, Head, RunStatus

from .filters import RunFilter
from .visit import Visit

PAGE = 50
TABS = (
    RunStatus.RUNNING, RunStatus.QUEUED, RunStatus.SCHEDULED, RunStatus.FAILED, RunStatus.PAUSED,
    RunStatus.COMPLETED, RunStatus.CANCELLED,
)  # fmt: skip
BULK = (Command.RETRY, Command.PAUSE, Command.RESUME, Command.CANCEL, Command.DELETE)


@dataclass(frozen=True, slots=True)
class Tab:
    """A status to filter by."""

    name: str
    """Empty: all."""
    label: str
    url: str
    count: int | None
    is_chosen: bool


def runs_page(visit: Visit) -> Response:
    """Show a page of the runs that a filter finds, or go to the one whose id was typed."""
    run_id = visit.query.get("run", "").strip()
    if run_id:
        try:
            known = visit.app.runs.get(valid_name(run_id))
        except InvalidName:
            known = None
        if known is not None and visit.tenant in (None, known.tenant):
            return visit.go(f"/runs/{run_id}")
    chosen = RunFilter.read(visit.query, visit.tenant)
    cursor = visit.query.get("cursor") or None
    heads: Sequence[Head] = ()
    following: str | None = None
    problem = f"There is no run {run_id[:130]}." if run_id else ""
    if not chosen.errors:
        try:
            page = visit.app.runs.find(chosen.query, cursor=cursor, limit=PAGE)
            heads, following = page.items, page.cursor
        except Misconfigured:
            problem = "That page is gone: this is the newest."
            page = visit.app.runs.find(chosen.query, limit=PAGE)
            heads, following = page.items, page.cursor
    counts = visit.app.runs.counts() if visit.tenant is None else {}
    return visit.page(
        "runs.html",
        filter=chosen,
        heads=heads,
        tabs=_tabs(chosen, counts, visit.tenant is None),
        pipelines=sorted({name for name, _ in counts} | {*visit.app.pipelines}),
        older=chosen.url(cursor=following) if following else "",
        newest=chosen.url() if cursor else "",
        run_id=run_id,
        problem=problem,
        bulk=BULK,
    )


def _tabs(
    chosen: RunFilter, counts: dict[tuple[str, RunStatus], int], countable: bool
) -> list[Tab]:
    """Return the tabs, with counts where the store keeps them: by pipeline and status."""
    countable = countable and not chosen.more
    numbers: dict[str, int] = {"": 0}
    for (pipeline, status), number in counts.items():
        if chosen["pipeline"] in ("", pipeline):
            numbers[status] = numbers.get(status, 0) + number
            numbers[""] += number

    def tab(name: str, label: str) -> Tab:
        count = numbers.get(name, 0) if countable else None
        return Tab(
            name, label, chosen.url(status=name, cursor=None), count, chosen["status"] == name
        )

    return [tab("", "All"), *(tab(status, status.capitalize()) for status in TABS)]
