"""Which queue, priority and time limit a stage's messages have."""

from __future__ import annotations

from dataclasses import replace

from celery import Celery

from .runs import Next
from .stage import Stage

KILL_AFTER_SECONDS = 10
"""How long after its timeout a stage that does not yield is killed, and its claim taken away."""


class Routing:
    """Asks Celery's router once a stage; a stage's own ``queue=`` goes first."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._known: dict[tuple[str, str], Next] = {}

    def next(self, pipeline: str, stage: Stage, priority: str = "") -> Next:
        """Return the stage as what is due next, with the *priority* of its run if that has one."""
        place = pipeline, stage.name
        if place not in self._known:
            self._known[place] = self._next(pipeline, stage)
        return (
            replace(self._known[place], priority=int(priority)) if priority else self._known[place]
        )

    def _next(self, pipeline: str, stage: Stage) -> Next:
        timeout = stage.timeout_seconds
        return Next(
            stage=stage.name,
            queue=stage.options.queue or self._routed(f"{pipeline}.{stage.name}"),
            priority=stage.options.priority,
            time_limit_ms=0 if timeout is None else int((timeout + KILL_AFTER_SECONDS) * 1000),
        )

    def _routed(self, task: str) -> str:
        queue = self._celery.amqp.router.route({}, task).get("queue")
        return str(getattr(queue, "name", queue) or self._celery.conf.task_default_queue)
