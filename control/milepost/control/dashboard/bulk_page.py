"""One command on many runs: first what it would meet, then, confirmed, the doing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from starlette.responses import Response

from milepost.checkpointing.ids import valid_name
from milepost.tasks import Bulk, Command, Head, RunQuery
from milepost.tasks.runs.base import RunStore
from milepost.tasks.transitions import ALLOWED

from ..api.problems import Problem
from .bulk_jobs import BulkJob
from .filters import RunFilter
from .protection import same
from .runs_page import BULK
from .visit import Form, Visit

MOST = 10_000
"""How many runs one bulk command of the dashboard meets at most; it can be given again."""
_MOST_CHOSEN = 200
_SLOWEST = 0.1
EVERY_RUN = "every run"


@dataclass(frozen=True, slots=True)
class Bound:
    """What a bulk command would meet."""

    command: Command
    filter: RunFilter
    run_ids: tuple[str, ...]
    """If runs were chosen one by one."""
    count: int
    others: int
    """Chosen runs whose status does not allow it."""
    examples: tuple[Head, ...]
    all_there_are: bool = False

    @property
    def is_capped(self) -> bool:
        """Whether there are more than one command meets."""
        return self.count >= MOST and not self.run_ids

    @property
    def word(self) -> str:
        """What has to be typed to confirm it; empty: nothing."""
        if self.all_there_are:
            return EVERY_RUN
        if self.run_ids and self.command is not Command.DELETE:
            return ""
        return str(self.count)

    @property
    def words(self) -> str:
        """Which runs are meant."""
        return f"{len(self.run_ids)} chosen runs" if self.run_ids else self.filter.words()


def bulk_page(visit: Visit) -> Response:
    """Show what a command would meet."""
    return _confirm(visit, _bound(visit, visit.query))


def begin_bulk(visit: Visit) -> Response:
    """Do a command that was confirmed."""
    bound = _bound(visit, visit.form)
    counted = _counted(visit, bound)
    if counted is None:
        return _confirm(visit, bound, {"all": "Look at what is meant, and confirm it here."}, 422)
    if bound.count > counted and not bound.all_there_are:
        told = f"There were {counted:,} of them when you looked, and there are {bound.count:,} now."
        return _confirm(visit, bound, {"all": told}, 409)
    typed = visit.form.get("typed", "").strip().replace(",", "").lower()
    errors = {}
    if bound.word and typed != (EVERY_RUN if bound.all_there_are else str(counted)):
        errors["typed"] = f"Type {bound.word} to confirm."
    try:
        rate = float(visit.form.get("rate", "") or 0)
        if rate and not _SLOWEST <= rate <= 10_000:
            raise ValueError
    except ValueError:
        errors["rate"] = f"Expected runs per second, from {_SLOWEST} to 10,000, or nothing."
        rate = 0.0
    if errors or not bound.count:
        return _confirm(visit, bound, errors, 422)
    assert visit.session is not None
    try:
        job = visit.site.jobs.begin(
            bound.command,
            bound.run_ids or bound.filter.query,
            visit.lifecycle,
            visit.session,
            what=bound.words,
            # Not more than was confirmed: in a moment there may be more of them.
            expected=counted,
            rate_per_second=rate or None,
        )
    except Problem as problem:
        response = _confirm(visit, bound, {"all": str(problem)}, problem.kind.status)
        response.headers.update(problem.headers)
        return response
    return visit.go(f"/bulk/{job}")


def bulk_job_page(visit: Visit) -> Response:
    """Show how far a bulk command has come."""
    return visit.page("bulk_job.html", job=_job(visit))


def stop_bulk(visit: Visit) -> Response:
    """Let a bulk command end where it is."""
    job = _job(visit)
    assert visit.session is not None
    visit.site.jobs.stop(job, visit.session.name)
    return visit.go(f"/bulk/{job.id}")


def _job(visit: Visit) -> BulkJob:
    job = visit.site.jobs.find(visit.path("job_id"))
    if job is None or visit.tenant not in (None, job.tenant):
        raise LookupError("There is no such bulk command; they are kept for a day.")
    return job


def _seal(visit: Visit, bound: Bound, run_ids: Sequence[str], count: int) -> str:
    """Return what the server has counted, for the form to bring back: it cannot be made or used otherwise."""
    assert visit.session is not None
    meant = json.dumps([bound.command, dict(bound.filter.typed), [*run_ids], count], sort_keys=True)
    return f"{count}.{visit.site.sessions.seal(visit.session, 'bulk', meant)}"


def _counted(visit: Visit, bound: Bound) -> int | None:
    """Return how many runs the page had counted that this form confirms; None: it is no such form."""
    count, _, _ = visit.form.get("seal", "").partition(".")
    if not (count.isdecimal() and count.isascii() and len(count) < 10):
        return None
    run_ids = visit.form.getlist("run") if visit.form.get("which") == "chosen" else []
    expected = _seal(visit, bound, run_ids, int(count))
    return int(count) if same(visit.form["seal"], expected) else None


def _confirm(
    visit: Visit, bound: Bound, errors: dict[str, str] | None = None, status: int = 200
) -> Response:
    form, errors = visit.form, errors or {}
    return visit.page(
        "bulk.html",
        status,
        bound=bound,
        seal=_seal(visit, bound, bound.run_ids, bound.count),
        errors=errors,
        rate=form.get("rate", ""),
        # What was typed confirmed something else.
        typed="" if "all" in errors else form.get("typed", ""),
        most=MOST,
    )


def _bound(visit: Visit, given: Form) -> Bound:
    try:
        command = Command(given.get("command", ""))
    except ValueError:
        command = None
    if command not in BULK:
        raise LookupError("There is no such bulk command.")
    assert command is not None
    chosen = RunFilter.read(given, visit.tenant)
    if given.get("which", "") == "chosen":
        names = dict.fromkeys(valid_name(run_id) for run_id in given.getlist("run")[:_MOST_CHOSEN])
        heads = [head for name in names if (head := visit.app.runs.get(name)) is not None]
        heads = [head for head in heads if visit.tenant in (None, head.tenant)]
        ready = tuple(head for head in heads if head.status in ALLOWED[command])
        ids = tuple(head.run_id for head in ready)
        return Bound(command, chosen, ids, len(ids), len(names) - len(ids), ready)
    if chosen.errors:
        raise LookupError("The filter cannot be read: " + " ".join(chosen.errors.values()))
    query = chosen.query
    if query.status and not query.status & ALLOWED[command]:
        return Bound(command, chosen, (), 0, 0, ())
    # Those that cannot be meant are not even looked at.
    query = replace(query, status=(query.status or ALLOWED[command]) & ALLOWED[command])
    chosen = replace(chosen, query=query)
    count, examples = _count(visit, command, query, chosen)
    everything = RunFilter.read(given, None).query.is_everything
    return Bound(command, chosen, (), count, 0, tuple(examples), everything)


def _count(
    visit: Visit, command: Command, query: RunQuery, chosen: RunFilter
) -> tuple[int, Sequence[Head]]:
    runs: RunStore = visit.app.runs
    examples = runs.find(query, limit=5).items
    if visit.tenant is None and not chosen.more:
        counts = runs.counts().items()
        return min(MOST, sum(
            number
            for (pipeline, status), number in counts
            if status in query.status and query.pipeline in (None, pipeline)
        )), examples  # fmt: skip
    return Bulk(runs, visit.lifecycle).apply(
        command, query, dry_run=True, limit=MOST
    ).done, examples  # fmt: skip
