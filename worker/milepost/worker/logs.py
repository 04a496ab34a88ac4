"""Logs for machines: one JSON object a line, which knows run, stage and attempt."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from celery import current_task
from celery.signals import after_setup_logger, after_setup_task_logger

from milepost.checkpointing import MissingExtra
from milepost.checkpointing.redaction import redacted_values
from milepost.tasks.head import Head
from milepost.tasks.observer import Ending, Observer, Outcome

try:
    from pythonjsonlogger.json import JsonFormatter
except ImportError:
    raise MissingExtra("A log in JSON", "logs") from None

_TRY: ContextVar[Mapping[str, Any] | None] = ContextVar("milepost_try", default=None)
"""What goes on in this thread or coroutine."""


class LogContext(Observer):
    """Lets whatever is logged while a stage runs, by whatever logger, know the try it belongs to.

    Threads that a stage starts itself know it if they run in a copy of its context (`contextvars`).
    """

    def begin(self, head: Head, stage: str) -> Ending | None:
        token = _TRY.set(
            {
                "run_id": head.run_id,
                "pipeline": head.pipeline,
                "stage": stage,
                "attempt": head.attempt,
            }
        )

        def end(outcome: Outcome, error: BaseException | None) -> None:
            _TRY.reset(token)

        return end


class JsonLines(JsonFormatter):
    """Writes time (UTC), level, logger, message, worker and what is known of task and try; no secrets."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "traceback"},
            timestamp="time",
            json_ensure_ascii=False,
        )
        self._host = socket.gethostname()

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        super().add_fields(log_data, record, message_dict)
        log_data.setdefault("worker", f"{self._host}:{record.process}")
        # Celery says it all again, for formatters that do not read the message.
        log_data.pop("data", None)
        request, known = current_task.request if current_task else None, {}
        if request is not None and request.id:
            log_data.setdefault("task_id", request.id)
            log_data.setdefault("task", current_task.name)
            # Celery tells of failures when the try is over.
            known = {k: v for k, v in (request.kwargs or {}).items() if k == "run_id"}
        for name, value in (_TRY.get() or known).items():
            log_data.setdefault(name, value)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        hidden: dict[str, Any] = redacted_values(super().process_log_record(log_data))
        return hidden


def write_json() -> None:
    """Give all handlers that Celery sets up for a worker this format.

    Who connects to Celery's `setup_logging` sets up his own, and gives them a `JsonLines` himself.
    """
    after_setup_logger.connect(_format, weak=False)
    after_setup_task_logger.connect(_format, weak=False)


def _format(logger: logging.Logger, **_: Any) -> None:
    for handler in logger.handlers:
        handler.setFormatter(JsonLines())
