"""Tries that end without a commit, and how each is recorded."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from .errors import BudgetExceeded, CodeMismatch, VersionAhead
from .failure import describe, text_of
from .head import Head
from .patience import Patience
from .retry import Retry
from .runs import Advance, Claim
from .stage import Stage
from .trace import noted_trace
from .versions import Place

if TYPE_CHECKING:
    from .runtime import Runtime

logger = logging.getLogger("milepost")
_ELSEWHERE_MS = 1_000
"""How long a run waits that was left to other workers, before any may take it again."""


class StageFailed(Exception):
    """A try failed and the store knows; `delay_seconds` until the next one, None: dead letter."""

    def __init__(self, error: BaseException, delay_seconds: float | None) -> None:
        super().__init__(text_of(error))
        self.error = error
        self.delay_seconds = delay_seconds


class Setbacks:
    """Records them in the run store; each says what became of the step."""

    def __init__(self, runtime: Runtime, patiently: Patience) -> None:
        self._runtime = runtime
        self._runs = runtime.runs
        self._patiently = patiently

    def fail(
        self, claim: Claim, stage: Stage, error: BaseException, retry: Retry | None = None
    ) -> str:
        """Let the stage be tried again as *retry* has it, by default the stage's own, or never.

        Raises:
            StageFailed: Always, unless the claim is gone.
        """
        retry = retry or stage.options.retry
        delay = retry.delay_seconds(claim.head.failures + 1, error)
        text = describe(error, claim.head.pipeline, stage.name, **noted_trace())
        milliseconds = None if delay is None else int(delay * 1000)
        if not self._patiently(self._runs.fail, claim, text, milliseconds):
            logger.warning(
                "Run %s: the failure of stage %s was refused: the claim is gone.",
                claim.head.run_id,
                stage.name,
            )
            return Advance.FENCED
        raise StageFailed(error, delay) from error

    def hand_back(self, place: Place, claim: Claim) -> str:
        """Let another worker begin the stage anew; the try counts as none."""
        head = replace(claim.head, published_at=0, stage=place.due)
        push = self._runtime.dispatch.render_due(head)
        if not self._patiently(self._runs.hand_back, claim, push):
            return Advance.FENCED
        if push is None:
            self._runtime.dispatch.publish(head)
        return "handed back"

    def park(self, claim: Claim, error: BudgetExceeded, *, ran: bool) -> str:
        """Pause the run until its budget is raised; *ran*: the stage had begun."""
        text = describe(error, claim.head.pipeline, claim.head.stage)
        done = self._patiently(
            self._runs.put_off, claim.head, nonce=claim.nonce, delay_ms=None, error=text, ran=ran
        )
        return "paused: out of budget" if done else Advance.FENCED

    def turn_away(self, head: Head, nonce: str, error: CodeMismatch) -> str:
        """Leave a run to workers with other code; pause it if none comes in the time of a deploy."""
        now = head.claimed_at if nonce else max(head.published_at, head.updated_at)
        before = head.failure or {}
        since = before.get("since", now) if before.get("type") == type(error).__name__ else now
        waited = now - since >= self._runtime.settings.deploy_seconds * 1000
        delay_ms = None if waited and not isinstance(error, VersionAhead) else _ELSEWHERE_MS
        text = describe(error, head.pipeline, head.stage, since=since)
        if not self._patiently(
            self._runs.put_off, head, nonce=nonce, delay_ms=delay_ms, error=text, ran=False
        ):
            return Advance.FENCED
        logger.warning("%s", error)
        return "paused: the code is not there" if delay_ms is None else "left to other workers"
