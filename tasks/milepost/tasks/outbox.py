"""Messages to stages: rendered for the run store to push, or published through Celery."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from celery import Celery
from celery.signals import before_task_publish
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

from .head import Step
from .message import to_kwargs
from .runs import Push


@dataclass(frozen=True, slots=True)
class _Template:
    """A message as Celery itself rendered it, to be filled in for other runs."""

    key: str
    message: dict[str, Any]
    embed: Any


class Outbox:
    """Sends the message of a step, a new task id each time and the run id as root id and stamp.

    Args:
        celery: The app whose tasks the stages are.
        push: Whether the broker is the run store's Redis, so that the store's scripts can push.
    """

    def __init__(self, celery: Celery, *, push: bool) -> None:
        self._celery = celery
        self._push = push
        self._templates: dict[tuple[str, str, int], _Template] = {}

    def render(self, task: str, step: Step, queue: str, priority: int) -> Push | None:
        """Return the message for the run store to push; None if it has to be published."""
        if not self._push:
            return None
        if before_task_publish.receivers or self._celery.conf.task_routes:
            # Receivers and routers may look at every message, so each is rendered in full.
            caught = self._capture(task, step, queue, priority)
            return Push(caught.key, json.dumps(caught.message)) if caught else None
        place = (task, queue, priority)
        template = self._templates.get(place)
        if template is None:
            template = self._capture(task, step, queue, priority)
            if template is None:
                return None
            self._templates[place] = template
        return _fill(template, step)

    def publish(self, task: str, step: Step, queue: str, priority: int) -> None:
        """Publish the message through Celery; it may be on the queue even if this raises."""
        self._send(task, step, queue, priority)

    def _send(self, task: str, step: Step, queue: str, priority: int, **options: Any) -> None:
        self._celery.send_task(
            task,
            kwargs=to_kwargs(step),
            queue=queue or None,
            priority=priority,
            root_id=step.run_id,
            ignore_result=True,
            add_to_parent=False,
            stamped_headers=["run_id"],
            run_id=step.run_id,
            **options,
        )

    def _capture(self, task: str, step: Step, queue: str, priority: int) -> _Template | None:
        """Let Celery publish into a list; None if it is more than one push to one list."""
        options = self._celery.conf.broker_transport_options
        caught: list[tuple[str, dict[str, Any]]] = []
        with Connection(
            transport=_Capture, transport_options={**options, "caught": caught}
        ) as into:
            self._send(task, step, queue, priority, connection=into, retry=False)
        if len(caught) != 1:
            return None
        key, message = caught[0]
        body = json.loads(base64.b64decode(message["body"]))
        return _Template(options.get("global_keyprefix", "") + key, message, body[2])

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What publishing may raise when the broker is away."""
        return (OperationalError, OSError, *self._celery.connection_for_write().connection_errors)

    def waiting(self, queue: str) -> int | None:
        """Return how many messages wait on *queue*; None if the broker is away."""
        try:
            with self._celery.connection_for_read() as connection:
                try:
                    declared = connection.default_channel.queue_declare(queue=queue, passive=True)
                except connection.channel_errors:
                    return 0  # On Redis an empty queue is one that does not exist.
                return int(declared.message_count)
        except self.errors:
            return None


def _fill(template: _Template, step: Step) -> Push:
    kwargs, task_id = to_kwargs(step), uuid4().hex
    message = template.message
    body = json.dumps([[], kwargs, template.embed]).encode()
    return Push(
        template.key,
        json.dumps(
            {
                **message,
                "body": base64.b64encode(body).decode(),
                "headers": {
                    **message["headers"],
                    "id": task_id,
                    "root_id": step.run_id,
                    "kwargsrepr": repr(kwargs),
                    "stamps": {"run_id": step.run_id},
                },
                "properties": {
                    **message["properties"],
                    "correlation_id": task_id,
                    "delivery_tag": uuid4().hex,
                },
            }
        ),
    )


class _CaptureChannel(virtual.Channel):
    """Keeps what Celery publishes instead of sending it; keys are the Redis transport's own."""

    do_restore = False
    from_transport_options = (*virtual.Channel.from_transport_options, "sep", "priority_steps")
    sep = kombu_redis.Channel.sep
    priority_steps = kombu_redis.Channel.priority_steps
    priority = kombu_redis.Channel.priority
    _q_for_pri = kombu_redis.Channel._q_for_pri

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        priority = self._get_message_priority(message, reverse=False)
        caught = self.connection.client.transport_options["caught"]
        caught.append((self._q_for_pri(queue, priority), message))


class _Capture(virtual.Transport):
    Channel = _CaptureChannel
    driver_type = "redis"
    driver_name = "milepost"
