"""What a stage can know about its run, and do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from .errors import ClaimLost, HandBack


@dataclass(frozen=True, slots=True)
class Context:
    """The second argument of a stage."""

    run_id: str
    pipeline: str
    stage: str
    sequence: int
    """The number of the checkpoint the stage works on."""
    attempt: int
    """Which try this is, from 1; failures, crashes and hand-backs all begin another."""
    idempotency_key: str
    """The same for every try of this stage on this checkpoint, on whatever worker: pass it to
    services that recognise repeated requests."""
    log: logging.LoggerAdapter[logging.Logger]
    """A logger that knows run, stage and attempt."""
    _stopping: Callable[[], bool]
    _cancelled: Callable[[], bool]

    @property
    def stopping(self) -> bool:
        """Whether the worker was told to stop: finish within its grace period, or `hand_back`."""
        return self._stopping()

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled or given to another worker, so that the result is refused.

        Learnt from the heartbeat, so up to a third of `heartbeat_lapse_seconds` late.
        """
        return self._cancelled()

    def hand_back(self) -> NoReturn:
        """Give the stage to another worker, which begins it anew; counts as no failure."""
        raise HandBack

    def check(self) -> None:
        """Raise `ClaimLost` if `cancelled`; for loops that have nothing to tidy up."""
        if self.cancelled:
            raise ClaimLost(f"Run {self.run_id} was cancelled or given to another worker.")
