"""One checkpoint: its state, what differs from the one before, and the whole of it to load down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from milepost.checkpointing import Checkpoint, CheckpointError, CheckpointKey, NotFound
from milepost.checkpointing.comparison import ABSENT, compare

from .state_text import OPENED_BYTES, Excerpt, excerpt, glance, plain_parts
from .text import cut, pretty
from .visit import Visit

_MOST_DIFFERENCES = 200
_LONGEST_VALUE = 600
_LONGEST_PATH = 300


@dataclass(frozen=True, slots=True)
class Change:
    """A difference as a page shows it; *kind* is ``added``, ``removed`` or ``changed``."""

    path: str
    kind: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs from another checkpoint; None instead of a list: that could not be told."""

    other: str
    shown: list[Change] | None
    total: int = 0
    why_not: str = ""


def checkpoint_page(visit: Visit) -> Response:
    """Show a checkpoint."""
    head = visit.head()
    key = visit.app.checkpoints.find(visit.path("checkpoint_id"), head.run_id)
    metadata, total, problem, checkpoint = None, 0, "", None
    try:
        metadata, total = glance(visit.app, key)
        if total <= OPENED_BYTES:
            checkpoint = visit.app.checkpoints.get(key)
    except CheckpointError as error:
        problem = str(error)
    against = visit.query.get("against") or (metadata.parent if metadata else None)
    return visit.page(
        "checkpoint.html",
        head=head,
        key=key,
        metadata=metadata,
        total=total,
        parts=_parts(visit, checkpoint) if checkpoint else [],
        changes=_changes(visit, head.run_id, against, checkpoint) if against else None,
        problem=problem,
        is_large=checkpoint is None and not problem,
    )


def checkpoint_file(visit: Visit) -> Response:
    """Send a whole checkpoint as JSON, to be kept as a file."""
    head = visit.head()
    key = visit.app.checkpoints.find(visit.path("checkpoint_id"), head.run_id)
    text = visit.app.checkpoints.get(key).to_json(visit.app.types)
    name = f"{head.run_id}-{key.timeline}.{key.sequence}.json"
    return Response(
        text.encode(errors="backslashreplace"),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _parts(visit: Visit, checkpoint: Checkpoint) -> list[tuple[str, Excerpt]]:
    """Return state, and what there is of the rest, as text."""
    parts = plain_parts(visit.app, checkpoint)
    names = {
        "state": "State",
        "messages": "Messages",
        "tool_calls": "Tool calls",
        "context": "Context",
    }
    return [
        (label, excerpt(parts[name]))
        for name, label in names.items()
        if name == "state" or parts[name]
    ]


def _changes(visit: Visit, run_id: str, other_id: str, checkpoint: Checkpoint | None) -> Changes:
    if checkpoint is None:
        return Changes(other_id, None, why_not="the state is too large to be compared here")
    try:
        key: CheckpointKey = visit.app.checkpoints.find(other_id, run_id)
        if glance(visit.app, key)[1] > OPENED_BYTES:
            return Changes(
                other_id, None, why_not="the state before is too large to be compared here"
            )
        before = visit.app.checkpoints.get(key)
    except NotFound:
        return Changes(other_id, None, why_not="the checkpoint before is not kept any more")
    except CheckpointError as error:
        return Changes(other_id, None, why_not=str(error))
    differences = compare(before, checkpoint)
    shown = [
        Change(
            cut(found.path.removeprefix("state."), _LONGEST_PATH),
            "added"
            if found.before is ABSENT
            else "removed"
            if found.after is ABSENT
            else "changed",
            _value(visit, found.before),
            _value(visit, found.after),
        )
        for found in differences[:_MOST_DIFFERENCES]
    ]
    return Changes(other_id, shown, len(differences))


def _value(visit: Visit, value: Any) -> str:
    if value is ABSENT:
        return ""
    if isinstance(value, str):
        return pretty(cut(value, _LONGEST_VALUE))
    try:
        flat = visit.app.types.flatten(value, "state")
    except CheckpointError:
        flat = repr(value)
    return cut(pretty(flat), _LONGEST_VALUE)
