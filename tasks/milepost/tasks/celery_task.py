"""The Celery task behind a stage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from billiard.exceptions import Terminated, WorkerLostError
from celery import Task
from celery.exceptions import Retry as RetryAnnounced
from celery.exceptions import TaskPredicate

from milepost.checkpointing.redaction import redacted

from .errors import TaskError
from .failure import LONGEST, text_of
from .message import from_kwargs
from .routing import KILL_AFTER_SECONDS
from .setbacks import StageFailed
from .stage import Stage
from .task_monitor import TaskMonitor

if TYPE_CHECKING:
    from .app import Milepost


_COMMANDS_TO_CELERY = (MemoryError, TaskPredicate, Terminated, WorkerLostError)


def create_task(app: Milepost, pipeline: str, name: str, stage: Stage) -> None:
    """Register *stage* with Celery as ``<pipeline>.<name>``, the name being its own or a former one.

    The task takes its message early: durability is the run store's affair, and a message that is lost
    is made again. It keeps no result; Flower sees its states, and as its result what became of the step.
    """
    timeout = stage.timeout_seconds

    def run_stage(task: Task, *args: Any, **kwargs: Any) -> str:
        step = from_kwargs(name, args, kwargs)
        if isinstance(step, str):
            message = json.dumps({"task": task.name, "args": args, "kwargs": kwargs}, default=repr)
            app.runs.put_aside(redacted(step), redacted(message)[:10_000])
            app.observers.put_aside()
            return f"put aside: {redacted(step)}"
        monitor = TaskMonitor(app, pipeline, task)
        try:
            return app.runtime.engine.execute(pipeline, step, monitor)
        except StageFailed as failed:
            if failed.delay_seconds is None:
                raise _plain(failed.error) from None
            # Celery's own way to say so; the run store, not Celery, brings the step back.
            raise RetryAnnounced(
                f"in {failed.delay_seconds:.1f} s",
                exc=_plain(failed.error),
                when=failed.delay_seconds,
            ) from None
        except MemoryError as error:
            raise _plain(error) from error
        finally:
            # Celery tells next what became of the task, which has to come last.
            app.runtime.events.flush()

    app.celery.task(
        run_stage,
        name=f"{pipeline}.{name}",
        bind=True,
        typing=False,
        shared=False,
        ignore_result=True,
        acks_late=False,
        rate_limit=stage.options.rate_limit,
        soft_time_limit=timeout,
        time_limit=None if timeout is None else timeout + KILL_AFTER_SECONDS,
    )


def _plain(error: BaseException) -> BaseException:
    """Return *error* as Celery can log and tell like any other.

    On some it acts itself: after a `MemoryError` in a pool process the whole worker ends.
    """
    text = text_of(error)
    if isinstance(error, _COMMANDS_TO_CELERY) or len(text) == LONGEST:
        return TaskError(f"{type(error).__name__}: {text}")
    return error
