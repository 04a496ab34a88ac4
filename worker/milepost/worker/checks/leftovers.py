"""What lies about: runs that have failed or keep failing, messages of no use, looks that nobody takes."""

from __future__ import annotations

from collections.abc import Iterator

from milepost.tasks import RunStatus

from ..settings import WorkerSettings
from .base import Check, Finding
from .site import Site

_LATE_SECONDS = 10.0
_ASIDE_SHOWN = 1_000


class LastLook(Check):
    """Somebody looks after runs."""

    name = "reconciler"

    def findings(self, site: Site) -> Iterator[Finding]:
        looked, where = site.runs.last_look(), site.runs.location
        if looked is None:
            yield self.warn("Nobody has ever looked after runs here.", "Start a worker.", where)
            return
        ago = (site.runs.now() - looked) / 1000
        says = f"Runs were last looked after {ago:.0f} s ago."
        if ago < _LATE_SECONDS + WorkerSettings().reconcile_seconds:
            yield self.ok(says, where)
        elif site.up:
            yield self.fail(says, "Workers are up and do not look: see their logs.", where)
        else:
            yield self.warn(says, "Start a worker.", where)


class DeadLetters(Check):
    """Runs that have been set aside."""

    name = "dead letters"

    def findings(self, site: Site) -> Iterator[Finding]:
        counts = site.runs.counts()
        failed = {name: n for (name, status), n in counts.items() if status is RunStatus.FAILED}
        if failed:
            shown = ", ".join(f"{number} of {name}" for name, number in sorted(failed.items()))
            yield self.warn(
                f"Failed runs: {shown}.", "See why, and retry or delete them.", site.runs.location
            )
        else:
            yield self.ok("No failed runs.", site.runs.location)


class CrashLoops(Check):
    """Runs that lose their workers."""

    name = "crash loops"

    def findings(self, site: Site) -> Iterator[Finding]:
        worst = site.runs.struggling(1)
        for head in worst:
            yield self.warn(
                f"Run {head.run_id} has lost {head.crashes + head.suspicions} workers at stage {head.stage} "
                "without getting on.",
                "See the log of its worker for what killed it: memory, most often.",
                site.runs.location,
            )
        if not worst:
            yield self.ok("No run loses its workers.", site.runs.location)


class Aside(Check):
    """Messages that no stage could be made of."""

    name = "messages put aside"

    def findings(self, site: Site) -> Iterator[Finding]:
        kept = site.runs.aside(_ASIDE_SHOWN)
        if kept:
            yield self.warn(
                f"{len(kept)} messages could not be used; the last: {kept[0]['reason'][:200]}",
                "Find out who sends them; they are kept in the run store.",
                site.runs.location,
            )
        else:
            yield self.ok("None.", site.runs.location)
