"""The queue, and what processes publish with. It keeps, drops, repeats and reorders when told to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from milepost.tasks.head import Step
from milepost.tasks.runs import Push

from .activity import Dead, pause

if TYPE_CHECKING:
    from .process import SimulatedProcess
    from .world import World


class QueueAwayError(OSError):
    """The broker does not answer."""


@dataclass(frozen=True, slots=True)
class Message:
    """One on the queue."""

    step: Step
    queue: str


class SimulatedQueue:
    """All queues of a broker; in no order, since a fleet of workers takes from it in none."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.messages: list[Message] = []

    def push(self, queue: str, payload: str) -> None:
        """Take a message as the run store pushes it."""
        self.put(Message(Step(**json.loads(payload)), queue))

    def put(self, message: Message) -> None:
        """Take a message."""
        self._world.witness.published(message.step)
        self.messages.append(message)


class SimulatedOutbox:
    """What a process has in the place of Celery."""

    errors = (QueueAwayError,)

    def __init__(self, world: World, process: SimulatedProcess) -> None:
        self._world = world
        self._process = process

    def render(self, task: str, step: Step, queue: str, priority: int) -> Push | None:
        """Return the message for the run store to push, where the broker is with it."""
        if not self._world.queue_in_runs:
            return None
        return Push(queue, json.dumps(asdict(step)))

    def publish(
        self, task: str, step: Step, queue: str, priority: int, *, ahead: bool = False
    ) -> None:
        """Put the message on its queue; it may be there even if this raises."""
        pause("queue.publish")
        if not self._process.is_alive:
            raise Dead
        fault = self._world.weather.strikes("queue", self._process)
        if fault == "before":
            raise QueueAwayError("The message never arrived (simulated).")
        for _ in range(2 if fault == "twice" else 1):
            self._world.queue.put(Message(step, queue))
        pause("after queue.publish")
        if fault == "after":
            raise QueueAwayError("The confirmation was lost (simulated).")

    def waiting(self, queue: str) -> int | None:
        """Return how many messages wait."""
        if self._world.weather.strikes("queue", self._process) == "before":
            return None
        return sum(message.queue == queue for message in self._world.queue.messages)

    def waiting_on(self, queues: Iterable[str]) -> dict[str, int]:
        """Return how many messages wait on each."""
        return {queue: self.waiting(queue) or 0 for queue in queues}
