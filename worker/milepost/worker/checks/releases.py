"""Releases of what Milepost is built on, here and in the fleet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from milepost.tasks.versions import order

from ..software import software
from .base import Check, Finding
from .site import Site

_NEEDED = {
    "python": ("3.11", None, ""),
    "celery": (
        "5.7",
        "5.8",
        "before 5.5 a worker may take nothing any more after the broker was restarted, and before 5.7 a "
        "reconnect may stall it",
    ),
    "kombu": ("5.7", "5.8", "the transport for Redis is of the same release as Celery"),
    "redis": ("6.4", "9", "kombu 5.7 takes no other"),
}
"""From which release, below which, and why."""


class Releases(Check):
    """Each is one that is known to work, and all of the fleet have the same."""

    name = "releases"

    def findings(self, site: Site) -> Iterator[Finding]:
        here = software()
        bad = [*_complaints("This process", here)]
        who: defaultdict[tuple[tuple[str, str], ...], list[str]] = defaultdict(list)
        for worker in site.workers:
            if worker.state != "silent" and worker.software:
                who[tuple(sorted(worker.software.items()))].append(worker.name)
        for found, names in who.items():
            bad += _complaints(f"Worker {names[0]}{_others(names)}", dict(found))
        for says in bad:
            yield self.fail(says, "Install what `pip install milepost` resolves to.")
        differ = [found for found in who if dict(found) != here]
        for found in differ:
            names = who[found]
            apart = ", ".join(f"{k} {v}" for k, v in found if here.get(k) != v)
            yield self.warn(
                f"Worker {names[0]}{_others(names)} has {apart}; here it is another.",
                "All is well in the middle of a rollout; else bring the fleet to one release.",
            )
        if not bad and not differ:
            yield self.ok(", ".join(f"{name} {found}" for name, found in here.items()) + ".")


def _complaints(who: str, found: Mapping[str, str]) -> Iterator[str]:
    for name, (least, below, why) in _NEEDED.items():
        installed = found.get(name)
        if installed is None:
            continue
        if order(installed) < order(least) or (below and order(installed) >= order(below)):
            span = f"{least} or newer" + (f", below {below}" if below else "")
            reason = f" ({why})" if why else ""
            yield f"{who} has {name} {installed}; expected {span}{reason}."


def _others(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
