"""What Celery, Flower and signal handlers are told of the stages that one task runs."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from billiard.einfo import ExceptionInfo
from celery import Task, signals, states
from celery._state import _task_stack
from celery.exceptions import Retry as RetryAnnounced

from .head import Step
from .message import to_kwargs
from .monitor import Monitor
from .setbacks import StageFailed

if TYPE_CHECKING:
    from .app import Milepost

logger = logging.getLogger("milepost")


class TaskMonitor(Monitor):
    """Tells of a stage in a burst what Celery tells of a task, under a task id of its own.

    So every stage is seen alike, whichever task ran it: its events in Flower, its signals, and
    `celery.current_task` while it runs. Its parent is the task whose message began the burst: that is the
    one which can be revoked.
    """

    def __init__(self, app: Milepost, pipeline: str, task: Task) -> None:
        self._app = app
        self._pipeline = pipeline
        self._first = task.request
        self._task = task
        self._id = self._first.id
        self._kwargs: dict[str, Any] = {}
        self._began = 0.0

    def progressed(self, done: int, total: int | None) -> None:
        # Of what an event says, Flower shows the result; it replaces what it had, and the keyword
        # arguments, by which a run's tasks are found, must stay.
        shown = str(done) if total is None else f"{done}/{total}"
        self._tell("task-progress", done=done, total=total, result=shown)

    def began(self, step: Step) -> None:
        self._task = self._app.celery.tasks[f"{self._pipeline}.{step.stage}"]
        self._id = str(uuid4())
        self._kwargs = to_kwargs(step)
        self._began = time.monotonic()
        family = {"root_id": step.run_id, "parent_id": self._first.id}
        shown = {"name": self._task.name, "args": "()", "kwargs": repr(self._kwargs), "retries": 0}
        self._tell("task-received", **shown, **family, eta=None, expires=None)
        self._tell("task-started")
        self._task.push_request(
            id=self._id,
            args=(),
            kwargs=self._kwargs,
            hostname=self._first.hostname,
            delivery_info=self._first.delivery_info,
            called_directly=False,
            **family,
        )
        _task_stack.push(self._task)
        self._signal(signals.task_prerun, task_id=self._id, task=self._task)

    def ended(self, said: str) -> None:
        took = time.monotonic() - self._began
        self._tell("task-succeeded", result=repr(said), runtime=took)
        signals.task_success.send(sender=self._task, result=said)
        logger.info("Stage %s[%s] succeeded in %.3fs: %r", self._task.name, self._id, took, said)
        self._leave(said, states.SUCCESS)

    def failed(self, error: BaseException) -> None:
        cause, delay = error, None
        if isinstance(error, StageFailed):
            cause, delay = error.error, error.delay_seconds
        info = ExceptionInfo((type(cause), cause, cause.__traceback__))
        about = {"exception": repr(cause), "traceback": str(info)}
        if delay is not None:
            self._tell("task-retried", **about)
            again = RetryAnnounced(f"in {delay:.1f} s", exc=cause, when=delay)
            signals.task_retry.send(
                sender=self._task, request=self._task.request, reason=again, einfo=info
            )
            logger.info("Stage %s[%s] retry: %s", self._task.name, self._id, again)
        else:
            self._tell("task-failed", **about)
            self._signal(
                signals.task_failure,
                task_id=self._id,
                exception=cause,
                traceback=cause.__traceback__,
                einfo=info,
            )
            logger.error("Stage %s[%s] raised", self._task.name, self._id, exc_info=cause)
        self._leave(cause, states.FAILURE if delay is None else states.RETRY)

    def _leave(self, result: Any, state: str) -> None:
        self._signal(
            signals.task_postrun, task_id=self._id, task=self._task, retval=result, state=state
        )
        _task_stack.pop()
        self._task.pop_request()

    def _signal(self, signal: Any, **about: Any) -> None:
        signal.send(sender=self._task, args=(), kwargs=self._kwargs, **about)

    def _tell(self, kind: str, **fields: Any) -> None:
        if self._app.celery.conf.worker_send_task_events:
            worker = self._first.hostname or ""
            self._app.runtime.events.add(worker, kind, uuid=self._id, **fields)
