"""How many requests a key may make: one bucket of tokens a key, in this process."""

from __future__ import annotations

import time

from .identity import Identity
from .problems import TOO_MANY, Problem

_BUCKETS = 10_000


class Rates:
    """Counts requests of each key. Several processes of the API each allow the whole rate.

    Args:
        rate: Requests a second in the long run; 0: no limit.
        burst: Requests at once after a pause.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, identity: Identity) -> None:
        """Count a request.

        Raises:
            Problem: 429, it is one too many.
        """
        if not self._rate:
            return
        now = time.monotonic()
        left, at = self._buckets.get(identity.key_id, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        if left < 1:
            wait = max(1, round((1 - left) / self._rate + 0.5))
            raise Problem(
                TOO_MANY,
                f"The key {identity.name} may make {self._rate:g} requests a second.",
                headers={"Retry-After": str(wait)},
            )
        if len(self._buckets) >= _BUCKETS and identity.key_id not in self._buckets:
            self._buckets.clear()
        self._buckets[identity.key_id] = (left - 1, now)
