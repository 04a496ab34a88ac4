"""All checks there are, and what they find."""

from __future__ import annotations

from collections.abc import Iterator

from milepost.checkpointing import MilepostError
from milepost.tasks import Milepost

from .base import Check, Finding, Verdict
from .broker import BrokerAnswers, Messages, Prefetch, Results, VisibilityTimeout
from .checkpoint_store import OneWinner, RoundTrip
from .clocks import Clocks
from .database import DatabaseDurability
from .embedded_disk import EmbeddedDisk
from .fleet_health import PausedQueues, RunsServed, Workers
from .leftovers import Aside, CrashLoops, DeadLetters, LastLook
from .redis_server import RedisDurability, RedisMemory, RedisRole, RedisVersion
from .releases import Releases
from .site import Site

CHECKS: tuple[type[Check], ...] = (
    RedisDurability, DatabaseDurability, RedisMemory, RedisRole, RedisVersion, EmbeddedDisk,
    RoundTrip, OneWinner,
    BrokerAnswers, VisibilityTimeout, Messages, Prefetch, Results,
    Releases, Clocks,
    Workers, RunsServed, PausedQueues, LastLook,
    DeadLetters, CrashLoops, Aside,
)  # fmt: skip


def examine(app: Milepost) -> Iterator[Finding]:
    """Yield what all checks find; one that cannot be made is a failure with its reason.

    Probes are written to the checkpoint store and removed again; nothing else is written.
    """
    try:
        site = Site(app)
    except MilepostError as error:
        yield Finding("stores", Verdict.FAIL, "", str(error), "Nothing else can be checked.")
        return
    try:
        for check in CHECKS:
            yield from check().examined(site)
    finally:
        site.close()
