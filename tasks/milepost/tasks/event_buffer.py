"""Task events on their way to Flower and whoever else watches."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any

from celery import Celery

logger = logging.getLogger("milepost")
_MOST = 10_000
"""How many events are kept while the broker is away; older ones go first."""


class EventBuffer:
    """Sends events from a thread of its own, many in a message, so that no stage waits for a broker at each.

    They are news, on which nothing hangs: what cannot be sent is dropped, and a process that dies takes the
    last of them along.

    Args:
        every_seconds: How long an event waits for others.
    """

    def __init__(self, celery: Celery, every_seconds: float = 0.5) -> None:
        self._celery = celery
        self._every = every_seconds
        self._events: deque[tuple[str, str, dict[str, Any]]] = deque(maxlen=_MOST)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._waiting = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, worker: str, kind: str, **fields: Any) -> None:
        """Let an event of *worker* be sent, which happened now."""
        self._events.append((worker, kind, {"timestamp": time.time(), **fields}))
        if not self._waiting.is_set():
            self._waiting.set()
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._send_on, name="milepost-events", daemon=True
                    )
                    self._thread.start()

    def flush(self) -> None:
        """Send now what waits; what is told of the same task later comes later then."""
        try:
            # Also to wait for what the thread is about to send.
            with self._sending:
                self._send()
        except Exception as error:  # noqa: BLE001 - whatever a broker raises that is away
            logger.warning("Task events could not be sent: %s", error)

    def close(self) -> None:
        """Send what is left."""
        self._closed.set()
        self._waiting.set()
        self.flush()

    def _send_on(self) -> None:
        while not self._closed.is_set():
            self._waiting.wait()
            self._closed.wait(self._every)
            self._waiting.clear()
            self.flush()

    def _send(self) -> None:
        while self._events:
            worker = self._events[0][0]
            with self._celery.events.default_dispatcher(hostname=worker) as dispatcher:
                dispatcher.buffer_group = frozenset({"task"})
                while self._events and self._events[0][0] == worker:
                    _, kind, fields = self._events.popleft()
                    dispatcher.send(kind, **fields)
                dispatcher.flush(errors=False)
