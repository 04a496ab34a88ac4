"""When a failed stage is tried again."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from milepost.checkpointing import Misconfigured, NotSerializable, TooLarge

from .duration import Duration, seconds
from .errors import PermanentError, StateInvalid

Errors = type[BaseException] | Iterable[type[BaseException]]

_HOPELESS = (PermanentError, StateInvalid, NotSerializable, TooLarge)


@dataclass(frozen=True, slots=True, init=False)
class Retry:
    """How often, how soon and after which errors a stage is tried again.

    Failures are counted in the run's head, not in the message, so that they survive workers; crashes
    of workers are counted apart (`max_crashes`), and handing back on a deploy counts as neither.

    Args:
        attempts: Tries in all, the first included. Celery's `max_retries` is one less. Default 1: a
            failed stage makes the run a dead letter, which ``run.retry()`` sets going again.
        backoff: ``"2s..1m"``: wait 2 s before the second try, double each time, never over 1 m. One
            duration: wait as long each time. Default ``"1s..1m"``.
        jitter: Draw each wait evenly from the upper half of the computed one, so that runs which
            failed together do not come back together. Default True.
        on: Try again only after these errors. Default: every `Exception`.
        never: Do not try again after these, whatever *on* says. `PermanentError` and states that
            cannot be written are never tried again.

    Raises:
        Misconfigured: *attempts* is below 1, or *backoff* is not understood.
    """

    attempts: int
    first_seconds: float
    cap_seconds: float
    jitter: bool
    on: tuple[type[BaseException], ...]
    never: tuple[type[BaseException], ...]

    def __init__(
        self,
        attempts: int = 1,
        backoff: Duration = "1s..1m",
        *,
        jitter: bool = True,
        on: Errors = Exception,
        never: Errors = (),
    ) -> None:
        if attempts < 1:
            raise Misconfigured(f"Retry(attempts={attempts}): expected 1 or more tries.")
        first, _, cap = backoff.partition("..") if isinstance(backoff, str) else (backoff, "", "")
        put = object.__setattr__
        put(self, "attempts", attempts)
        put(self, "first_seconds", seconds(first))
        put(self, "cap_seconds", seconds(cap) if cap else seconds(first))
        put(self, "jitter", jitter)
        put(self, "on", _types(on))
        put(self, "never", _types(never))
        if self.cap_seconds < self.first_seconds:
            raise Misconfigured(f"Retry(backoff={backoff!r}): the cap is below the first wait.")

    def delay_seconds(self, failures: int, error: BaseException) -> float | None:
        """Return how long to wait after the failure number *failures* (from 1); None: give up."""
        if failures >= self.attempts or isinstance(error, _HOPELESS + self.never):
            return None
        if not isinstance(error, self.on):
            return None
        wait = min(self.cap_seconds, self.first_seconds * 2.0 ** min(failures - 1, 60))
        return random.uniform(wait / 2, wait) if self.jitter else wait


def _types(errors: Errors) -> tuple[type[BaseException], ...]:
    return (errors,) if isinstance(errors, type) else tuple(errors)
