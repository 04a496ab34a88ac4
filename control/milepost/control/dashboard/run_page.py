"""One run."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from milepost.checkpointing import CheckpointError, CheckpointMetadata
from milepost.checkpointing.retention import Usage
from milepost.tasks import Head, Milepost
from milepost.tasks.spent import read_amounts
from milepost.tasks.versions import order

from .actions import DONE, actions
from .timeline import timeline
from .visit import Visit

HISTORY = 200
"""How many checkpoints a page shows, the newest."""


def run_page(
    visit: Visit, head: Head | None = None, *, error: str = "", status: int = 200
) -> Response:
    """Show a run, and beside it what was wrong with a command on it."""
    head = head or visit.head()
    history, damage = checkpoints(visit.app, head)
    versions = visit.app.versions.get(head.pipeline)
    return visit.page(
        "run.html",
        status,
        head=head,
        failure=failure(head),
        rows=timeline(head, history),
        has_more=len(history) == HISTORY,
        damage=damage,
        usage=_usage(visit.app, head),
        progress=head.stage_progress,
        spent=_spent(head),
        budget=read_amounts(head.budget),
        notes=visit.app.runs.notes_on(head, 50),
        actions=actions(head, code_known=versions is not None) if visit.may("operate") else [],
        code_known=versions is not None,
        is_newer_code=versions is not None
        and order(versions.current.version) < order(head.version),
        said=DONE.get(visit.query.get("done", ""), ""),
        error=error,
    )


def checkpoints(app: Milepost, head: Head) -> tuple[list[CheckpointMetadata], str]:
    """Return the metadata of a run's checkpoints, newest first, or why it cannot be read."""
    try:
        return app.checkpoints.list_checkpoints(head.run_id, limit=HISTORY), ""
    except CheckpointError as error:
        return [], str(error)


def failure(head: Head) -> dict[str, Any] | None:
    """Return the last failure; what others wrote there instead of one is shown as its message."""
    try:
        found = head.failure
    except ValueError:
        found = {"message": head.error}
    if found is None:
        return None
    if not isinstance(found, dict):
        found = {"message": json.dumps(found)}
    return {"type": "", "message": "", "stage": "", "group": "", "traceback": "", **found}


def _usage(app: Milepost, head: Head) -> Usage | None:
    try:
        return app.checkpoints.usage(head.run_id)
    except CheckpointError:
        return None


def _spent(head: Head) -> list[tuple[str, float, float]]:
    """Return (unit, useful, wasted); seconds last."""
    spent = head.spent
    units = sorted({*spent.useful, *spent.wasted}, key=lambda unit: (unit == "seconds", unit))
    return [(unit, spent.useful.get(unit, 0), spent.wasted.get(unit, 0)) for unit in units]
