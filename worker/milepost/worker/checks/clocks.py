"""Clocks: deadlines are the run store's, but expiry in some stores, and logs, go by hosts' own."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .base import Check, Finding
from .site import Site

_NOTABLE_MS = 1_000
_BAD_MS = 60_000


class Clocks(Check):
    """This host, the workers' hosts, and the run store."""

    name = "clocks"

    def findings(self, site: Site) -> Iterator[Finding]:
        skews = {}
        before = time.time()
        now = site.runs.now()
        skews["This host"] = int((before + time.time()) * 500) - now
        for worker in site.workers:
            if worker.state != "silent":
                skews[f"Worker {worker.name} (pid {worker.pid})"] = worker.clock_skew_ms
        notable = {who: skew for who, skew in skews.items() if abs(skew) >= _NOTABLE_MS}
        for who, skew in notable.items():
            direction = "ahead of" if skew > 0 else "behind"
            says = f"{who} is {abs(skew) / 1000:.1f} s {direction} the run store."
            yield (self.fail if abs(skew) >= _BAD_MS else self.warn)(
                says, "Let NTP set the clocks.", site.runs.location
            )
        if not notable:
            worst = max(abs(skew) for skew in skews.values())
            says = f"This host, {len(skews) - 1} workers and the run store agree within {worst} ms."
            yield self.ok(says, site.runs.location)
