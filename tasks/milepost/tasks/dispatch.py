"""Getting the message of a run's next step onto the queue, and noting that it is there."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .faultpoints import Point
from .head import Head, Step
from .outbox import Outbox
from .runs import Push, RunStore
from .settings import TaskSettings

logger = logging.getLogger("milepost")


def _nowhere(point: Point, step: Step) -> None:
    return


class Dispatch:
    """Renders messages for the run store to push, or publishes and notes them in a safe order."""

    def __init__(self, runs: RunStore, outbox: Outbox, settings: TaskSettings) -> None:
        self._runs = runs
        self._outbox = outbox
        self._patience_ms = int(settings.patience_seconds * 1000)

    def render(self, pipeline: str, step: Step, queue: str, priority: int) -> Push | None:
        """Return the message of *step*; None if it has to be published."""
        return self._outbox.render(f"{pipeline}.{step.stage}", step, queue, priority)

    def rendering(self, task: str, queue: str, priority: int) -> Callable[[Step], Push | None]:
        """Return what renders the messages of many steps of one stage."""
        return lambda step: self._outbox.render(task, step, queue, priority)

    def render_due(self, head: Head) -> Push | None:
        """Return the message of the step due; None if it has to be published."""
        return self.render(head.pipeline, head.step, head.queue, head.priority)

    def publish(
        self,
        head: Head,
        *,
        patience_ms: int | None = None,
        reach: Callable[[Point, Step], None] = _nowhere,
    ) -> bool:
        """Put the message of the step due on the queue; False if the run has moved on.

        A stage that is begun again goes ahead of all that wait, where the broker is a Redis.
        Dying in it, or a broker that is away, costs no more than the reconciler's next look.
        """
        patience_ms = self._patience_ms if patience_ms is None else patience_ms
        push = self.render_due(head)
        if push is None:
            try:
                self._outbox.publish(
                    f"{head.pipeline}.{head.stage}",
                    head.step,
                    head.queue,
                    head.priority,
                    ahead=head.attempt > 0,
                )
            except self._outbox.errors as error:
                logger.warning(
                    "Run %s: publishing failed (%s); it is tried again.", head.run_id, error
                )
                return False
            reach("published", head.step)
        done = self._runs.requeue(head, push=push, published=True, patience_ms=patience_ms)
        reach("noted", head.step)
        return done

    def waiting(self, queue: str) -> int | None:
        """Return how many messages wait on a queue; None if the broker does not say."""
        return self._outbox.waiting(queue)

    @property
    def outbox(self) -> Outbox:
        """Where messages go."""
        return self._outbox
