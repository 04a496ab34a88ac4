"""What a worker asks when it starts: a round trip for each store, about losing runs.

The other checks are not even imported: a worker that replaces a dead one shall not wait for them.
"""

from __future__ import annotations

from milepost.tasks import Milepost

from .base import Check, Finding, Verdict
from .database import DatabaseDurability
from .redis_server import RedisDurability
from .site import Site

CHECKS: tuple[type[Check], ...] = (RedisDurability, DatabaseDurability)


def weaknesses(app: Milepost) -> list[Finding]:
    """Return what lets the stores lose runs; a server that has messages alone is not asked."""
    site = Site(app, with_broker=False)
    found = [finding for check in CHECKS for finding in check().examined(site)]
    return [finding for finding in found if finding.verdict is not Verdict.OK]
