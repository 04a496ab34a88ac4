"""Where things are kept, how many there are, and what was done."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from milepost.tasks import Milepost, RunStatus
from milepost.tasks.runs.redis import RedisRunStore

from .text import cut
from .visit import Visit

_ASIDE = 20
_NOTES = 100
_LONGEST_MESSAGE = 1_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is kept; locations come without passwords."""

    what: str
    location: str
    facts: str = ""


def storage_page(visit: Visit) -> Response:
    """Show stores, counts, unusable messages and the audit trail."""
    counts = visit.app.runs.counts()
    statuses = [status for status in RunStatus if any(s is status for _, s in counts)]
    pipelines = sorted({name for name, _ in counts})
    table = [(name, [counts.get((name, status), 0) for status in statuses]) for name in pipelines]
    by = visit.query.get("by", "").strip()
    notes = visit.app.runs.notes(None, _NOTES if not by else 10 * _NOTES)
    return visit.page(
        "storage.html",
        places=_places(visit.app),
        statuses=statuses,
        table=table,
        totals=[sum(row[at] for _, row in table) for at in range(len(statuses))],
        aside=[
            (entry["reason"], cut(entry["message"], _LONGEST_MESSAGE), float(entry["at"]) * 1000)
            for entry in visit.app.runs.aside(_ASIDE)
        ],
        notes=[note for note in notes if by in ("", note.by)][:_NOTES],
        by=by,
    )


def _places(app: Milepost) -> list[Place]:
    runtime = app.runtime
    log = runtime.checkpoints
    together = "beside the runs, written in one step with them" if runtime.log_in_runs else ""
    places = [
        Place("Runs", app.runs.location, _memory(app)),
        Place("Checkpoints", log.store.location, together),
    ]
    if log.blobs is not log.store:
        places.append(Place("Pieces of large states", log.blobs.location))
    return places


def _memory(app: Milepost) -> str:
    if not isinstance(app.runs, RedisRunStore):
        return ""
    info = app.runs.client.info("memory")
    assert isinstance(info, dict)
    policy = info.get("maxmemory_policy", "")
    limit = info.get("maxmemory_human") if info.get("maxmemory") else "no limit"
    return f"{info.get('used_memory_human')} of memory in use, {limit}, {policy}"
