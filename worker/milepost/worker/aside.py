"""Where messages go that are none."""

from __future__ import annotations

import logging

from milepost.checkpointing import CheckpointError
from milepost.checkpointing.redaction import redacted
from milepost.tasks import Milepost

logger = logging.getLogger("milepost.worker")
_LONGEST = 10_000


class Aside:
    """Puts what is no message into the run store, with the reason, for somebody to look at.

    It stands among the transport's options, which ``celery inspect stats`` sends as JSON: there it is its
    name.
    """

    def __init__(self, app: Milepost) -> None:
        self._runs = app.runs
        self._observers = app.observers

    def __call__(self, reason: str, message: str) -> None:
        """Keep *message*, or its beginning; a store that cannot is logged, and so is the message."""
        reason, message = redacted(reason), redacted(message)
        logger.error("A message is put aside: %s", reason)
        self._observers.put_aside()
        try:
            self._runs.put_aside(reason, message[:_LONGEST])
        except CheckpointError as error:
            logger.error("It could not be kept (%s): %.500s", error, message)

    def __json__(self) -> str:
        return "milepost.put_aside"
