"""What a worker does with messages that no task can be made of: put them aside, and live on."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any, ClassVar

from celery import bootsteps
from celery.signals import task_rejected, task_unknown

logger = logging.getLogger("milepost.worker")


class Intake(bootsteps.StartStopStep):
    """Guards the consumer, whatever the broker: an error in taking a message costs that message only.

    In plain Celery such an error ends the worker, and the message, which was not acknowledged, meets the
    next one.
    """

    put_aside: ClassVar[Callable[[str, str], None]]
    """Keeps a reason and a message; set by the subclass that `install` makes, as is the next."""
    turn_away: ClassVar[Callable[[str, Any, Any], str | None]]
    """Leaves a stage that other workers may know to them; None: it is none."""

    def __init__(self, consumer: Any, **_: Any) -> None:
        create, decode_error = consumer.create_task_handler, consumer.on_decode_error

        def create_guarded(*args: Any, **kwargs: Any) -> Callable[[Any], None]:
            handle = create(*args, **kwargs)

            def guarded(message: Any) -> None:
                try:
                    _check(message.headers)
                    if not self._is_for_others(consumer, message):
                        handle(message)
                except Exception as error:
                    # Kombu counts KeyError among the errors of a connection, too.
                    lost = isinstance(error, consumer.connection_errors)
                    if lost and not isinstance(error, LookupError):
                        raise
                    logger.exception("A message cannot be taken.")
                    self._keep(f"{type(error).__name__}: {error}", message)
                    if not message.acknowledged:
                        message.reject_log_error(logger, consumer.connection_errors)

            return guarded

        def keep_undecodable(message: Any, error: Exception) -> None:
            self._keep(f"its body cannot be decoded: {error}", message)
            decode_error(message, error)

        consumer.create_task_handler = create_guarded
        consumer.on_decode_error = keep_undecodable

    def start(self, consumer: Any) -> None:
        """Hear of what Celery itself refuses."""
        task_rejected.connect(self._on_rejected)
        task_unknown.connect(self._on_unknown)

    def _is_for_others(self, consumer: Any, message: Any) -> bool:
        """Leave a run to workers whose code has its stage; this one's has not."""
        name = (message.headers or {}).get("task")
        if not isinstance(name, str) or name in consumer.strategies:
            return False
        args, kwargs, _embed = message.payload
        if type(self).turn_away(name, args, kwargs) is None:
            return False
        message.ack_log_error(logger, consumer.connection_errors)
        return True

    def _on_rejected(self, message: Any = None, exc: Any = None, **_: Any) -> None:
        self._keep(f"it is no task: {exc}" if exc else "it is no task", message)

    def _on_unknown(self, message: Any = None, name: str = "", **_: Any) -> None:
        self._keep(f"no task {name!r} is known here", message)

    def _keep(self, reason: str, message: Any) -> None:
        kept = {"headers": message.headers, "body": message.body}
        type(self).put_aside(reason, repr(kept))


def _check(headers: Any) -> None:
    """Raise what Celery would raise too late: when the pool's slot is taken, or in the event loop."""
    if not isinstance(headers, dict):
        return
    limits = headers.get("timelimit") or (None, None)
    if not isinstance(limits, list | tuple) or len(limits) != 2 or not all(map(_is_limit, limits)):
        raise ValueError(f"expected two time limits, found {limits!r}")
    stamped, stamps = headers.get("stamped_headers") or [], headers.get("stamps") or {}
    if not isinstance(stamped, list | tuple) or not isinstance(stamps, dict):
        raise ValueError(f"expected stamps and their names, found {stamps!r} and {stamped!r}")
    if not all(isinstance(name, str) for name in stamped):
        raise ValueError(f"expected names of stamps, found {stamped!r}")


def _is_limit(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value < math.inf)
