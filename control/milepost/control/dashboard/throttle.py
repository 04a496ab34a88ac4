"""Keeping those who guess keys waiting."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque

_MOST_ADDRESSES = 10_000


class Throttle:
    """Counts failures by address, in this process; so many in so long, and the address has to wait."""

    def __init__(self, failures: int = 10, seconds: float = 60.0) -> None:
        self._failures = failures
        self._seconds = seconds
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_seconds(self, address: str) -> int:
        """Return how long *address* has to wait; 0: not at all."""
        with self._lock:
            times = self._by_address.get(address)
            if times is None or len(times) < self._failures:
                return 0
            return max(0, math.ceil(times[0] + self._seconds - time.monotonic()))

    def failed(self, address: str) -> None:
        """Note a failure."""
        with self._lock:
            times = self._by_address.setdefault(address, deque(maxlen=self._failures))
            times.append(time.monotonic())
            self._by_address.move_to_end(address)
            while len(self._by_address) > _MOST_ADDRESSES:
                self._by_address.popitem(last=False)
