"""Task events at a fraction of their cost: in batches, and only while somebody listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.worker.consumer.events import Events

from milepost.checkpointing.redaction import redacted

from .settings import WorkerSettings

_LIMIT = 500
_TASKS = "task"


class EventBatches(bootsteps.StartStopStep):
    """Lets Celery's dispatcher gather task events into ``task-multi`` messages, or not make them at all.

    Celery gathers already within one turn of its event loop; this only makes the turns longer. Redis
    tells with every publication how many received it: while nobody does, tasks send no events. The
    worker's heartbeats go on and show within their two seconds when Flower, or anybody, has come.
    Other brokers do not tell, so there they are always sent. Pools without an event loop (solo, threads)
    send events one by one, as in plain Celery.
    """

    requires = (Events,)

    def __init__(self, consumer: Any, **_: Any) -> None:
        self._timer: Any = None
        self._muted = False

    def start(self, consumer: Any) -> None:
        """Gather from now on."""
        dispatcher = consumer.event_dispatcher
        if dispatcher is not None:
            dispatcher.send = _without_secrets(dispatcher.send)
        if consumer.hub is None or dispatcher is None:
            return
        dispatcher.buffer_limit = _LIMIT
        dispatcher.on_send_buffered = None
        if not dispatcher.groups:
            # Empty means all groups, from which none can be taken away.
            dispatcher.groups.update((_TASKS, "worker"))
        seconds = WorkerSettings().event_flush_seconds
        self._timer = consumer.timer.call_repeatedly(seconds, self._turn, (consumer,))

    def stop(self, consumer: Any) -> None:
        """Send what is gathered, so that nothing is missing at the end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            if consumer.event_dispatcher is not None and consumer.event_dispatcher.enabled:
                consumer.event_dispatcher.flush()
                self._unmute(consumer.event_dispatcher)

    def _turn(self, consumer: Any) -> None:
        dispatcher = consumer.event_dispatcher
        dispatcher.flush()
        if dispatcher.producer is None:
            return
        heard = getattr(dispatcher.producer.channel, "heard", None)
        # Without heartbeats nothing would tell that somebody has come.
        if heard == 0 and consumer.heart is not None:
            self._muted = self._muted or _TASKS in dispatcher.groups
            dispatcher.groups.discard(_TASKS)
        else:
            self._unmute(dispatcher)

    def _unmute(self, dispatcher: Any) -> None:
        if self._muted:
            dispatcher.groups.add(_TASKS)
            self._muted = False


def _without_secrets(send: Callable[..., Any]) -> Callable[..., Any]:
    def send_redacted(*args: Any, **fields: Any) -> Any:
        if "exception" in fields:
            for name in ("exception", "traceback"):
                fields[name] = redacted(str(fields.get(name, "")))
        return send(*args, **fields)

    return send_redacted
