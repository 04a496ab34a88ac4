"""Someone always looks: runs that should be moving and are not are set going again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from milepost.checkpointing import Unavailable

from .errors import UnknownPipeline, VersionAhead
from .head import AT_REST, UNDER_WAY, Head
from .runs import Look
from .runs.base import LEASE_MS

if TYPE_CHECKING:
    from .runtime import Runtime

logger = logging.getLogger("milepost")
_SLACK_MS = 1_000
_TELLING_SECONDS = 1.0
"""How long one look tells logs at most of runs that stand still: others want to go on."""


class Reconciler:
    """Looks at what is due. All it does is idempotent, so any number may look at once, unelected."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        settings = runtime.settings
        self._tell_until = 0.0
        self._cap_ms = int(settings.patience_cap_seconds * 1000)

    def look(self, limit: int = 100) -> int:
        """Deal with up to *limit* runs of each shard and return how many messages were published.

        What is left when their lease is over is left to the next look, whoever's it is.

        Raises:
            Unavailable: The run store does not answer.
        """
        clock = self._runtime.process.monotonic
        until = clock() + LEASE_MS / 1000
        found = self._runtime.runs.look(limit)
        self._tell_until = clock() + _TELLING_SECONDS
        waiting: dict[str, int | None] = {}
        published = 0
        # Who wants to go on comes before who stands still.
        for head in sorted(found.heads, key=lambda head: head.status in AT_REST):
            if clock() >= until:
                break
            try:
                published += self._decide(head, found, waiting)
            except Unavailable:
                raise
            except (VersionAhead, UnknownPipeline) as error:
                logger.warning("%s", error)
            except Exception:
                # What is odd about one run must not keep others from being looked after.
                logger.exception("Run %s cannot be looked after; it is tried again.", head.run_id)
        return published

    def _decide(self, head: Head, found: Look, waiting: dict[str, int | None]) -> bool:
        """Do what a run needs; True if its message was published."""
        if head.status in UNDER_WAY:
            self._runtime.intents.complete(head)
            return False
        if head.status in AT_REST:
            if self._runtime.process.monotonic() > self._tell_until:
                return False
            try:
                self._runtime.markers.tell(head)
            except Unavailable as error:
                # The log is away, not the run store: others can be looked after.
                logger.warning("Run %s: its log cannot be told yet: %s", head.run_id, error)
            return False
        if not head.published_at:
            return self._runtime.dispatch.publish(head)
        patience = min(self._cap_ms, head.patience_ms * 2)
        if self._is_lost(head, found, waiting):
            logger.warning(
                "Run %s: the message of stage %s is lost; it is published again.",
                head.run_id,
                head.stage,
            )
            self._runtime.observers.republished(head)
            return self._runtime.dispatch.publish(head, patience_ms=patience)
        self._runtime.runs.requeue(head, push=None, published=False, patience_ms=patience)
        return False

    def _is_lost(self, head: Head, found: Look, waiting: dict[str, int | None]) -> bool:
        """Whether the message has no reason to be still unclaimed.

        It has none if a message that was published later to the same queue has been claimed, or if the
        queue is empty. A backlog of hours is a reason; doubling patience keeps looking cheap then.
        """
        newest = found.newest.get((head.queue, head.priority), 0)
        if head.published_at < newest - _SLACK_MS:
            return True
        if head.queue not in waiting:
            waiting[head.queue] = self._runtime.dispatch.waiting(head.queue)
        return waiting[head.queue] == 0
