"""Messages to stages: rendered for the run store to push, or published through Celery."""

from __future__ import annotations

import base64
import json
from binascii import b2a_base64
from collections.abc import Iterable
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from celery import Celery
from celery.signals import before_task_publish
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

from .head import Step
from .message import from_kwargs, to_kwargs
from .runs import Push

_AT_ONCE = {"max_retries": 1, "interval_start": 0.1, "interval_step": 0.0}
"""Who only looks does not wait for a broker as who publishes does."""


@dataclass(frozen=True, slots=True)
class _Template:
    """A message as Celery itself rendered it, cut where runs differ.

    What is filled in (base64, hex, names and a repr of names and numbers) needs no escaping in JSON.
    """

    key: str
    text: str
    """With ``%(body)s``, ``%(id)s``, ``%(run_id)s`` and ``%(kwargs)s`` where those go."""
    embed: str

    @classmethod
    def of(cls, key: str, message: dict[str, Any]) -> _Template:
        body = json.loads(base64.b64decode(message["body"]))
        marks = {place: token_hex(16) for place in ("body", "id", "run_id", "kwargs")}
        text = json.dumps(
            {
                **message,
                "body": marks["body"],
                "headers": {
                    **message["headers"],
                    "id": marks["id"],
                    # Of the task in which the template happened to be made.
                    "parent_id": None,
                    "root_id": marks["run_id"],
                    "kwargsrepr": marks["kwargs"],
                    "stamps": {"run_id": marks["run_id"]},
                },
                "properties": {
                    **message["properties"],
                    "correlation_id": marks["id"],
                    "delivery_tag": marks["id"],
                },
            }
        )
        text = text.replace("%", "%%")
        for place, mark in marks.items():
            text = text.replace(mark, f"%({place})s")
        return cls(key, text, json.dumps(body[2]))

    def fill(self, step: Step) -> Push:
        shown = repr(to_kwargs(step))
        # Names and numbers: their repr is their JSON but for the quotes.
        kwargs = shown.replace("'", '"')
        body = b2a_base64(f"[[], {kwargs}, {self.embed}]".encode(), newline=False).decode()
        values = {"body": body, "id": token_hex(16), "run_id": step.run_id, "kwargs": shown}
        return Push(self.key, self.text % values)


class Outbox:
    """Sends the message of a step, a new task id each time and the run id as root id and stamp.

    Args:
        celery: The app whose tasks the stages are.
        push: Whether the broker is the run store's Redis, so that the store's scripts can push.
    """

    def __init__(self, celery: Celery, *, push: bool) -> None:
        self._celery = celery
        # A compressed body is no place for marks.
        self._push = push and not celery.conf.task_compression
        self._routes = bool(celery.conf.task_routes)
        self._templates: dict[tuple[str, str, int], _Template] = {}

    def render(self, task: str, step: Step, queue: str, priority: int) -> Push | None:
        """Return the message for the run store to push; None if it has to be published."""
        if not self._push:
            return None
        if before_task_publish.receivers or self._routes:
            # Receivers and routers may look at every message, so each is rendered in full.
            caught = self._capture(task, step, queue, priority)
            return Push(caught[0], json.dumps(caught[1])) if caught else None
        place = (task, queue, priority)
        template = self._templates.get(place)
        if template is None:
            caught = self._capture(task, step, queue, priority)
            if caught is None:
                return None
            template = self._templates[place] = _Template.of(*caught)
        return template.fill(step)

    def publish(
        self, task: str, step: Step, queue: str, priority: int, *, ahead: bool = False
    ) -> None:
        """Publish the message through Celery; it may be on the queue even if this raises.

        Args:
            ahead: Whether it is to be taken before all that wait. Only Redis has a place for that.
        """
        if ahead:
            with self._celery.connection_or_acquire() as connection:
                if self._put_ahead(connection.default_channel, task, step, queue, priority):
                    return
        self._send(task, step, queue, priority)

    def _put_ahead(self, channel: Any, task: str, step: Step, queue: str, priority: int) -> bool:
        if not isinstance(channel, kombu_redis.Channel):
            return False
        caught = self._capture(task, step, queue, priority)
        if caught is None:
            return False
        key = caught[0].removeprefix(channel.global_keyprefix)
        with channel.conn_or_acquire() as client:
            client.rpush(key, json.dumps(caught[1]))
        return True

    def _send(self, task: str, step: Step, queue: str, priority: int, **options: Any) -> None:
        self._celery.send_task(
            task,
            kwargs=to_kwargs(step),
            serializer="json",
            queue=queue or None,
            priority=priority,
            root_id=step.run_id,
            ignore_result=True,
            add_to_parent=False,
            stamped_headers=["run_id"],
            run_id=step.run_id,
            **options,
        )

    def _capture(
        self, task: str, step: Step, queue: str, priority: int
    ) -> tuple[str, dict[str, Any]] | None:
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
        return options.get("global_keyprefix", "") + key, message

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What publishing may raise when the broker is away."""
        return (OperationalError, OSError, *self._celery.connection_for_write().connection_errors)

    def waiting(self, queue: str) -> int | None:
        """Return how many messages wait on *queue*; None if the broker is away."""
        return self.waiting_on([queue]).get(queue)

    def waiting_on(self, queues: Iterable[str]) -> dict[str, int]:
        """Return how many messages wait on each of *queues*; empty if the broker is away."""
        try:
            with self._celery.connection_for_read() as connection:
                connection.ensure_connection(**_AT_ONCE)
                return {queue: _waiting(connection, queue) for queue in queues}
        except self.errors:
            return {}

    def oldest(self, queue: str, limit: int = 3) -> list[Step] | None:
        """Return the steps whose messages are taken next from *queue*, up to *limit* of each priority.

        The messages stay where they are. None: the broker does not let itself be looked into, as Redis does.
        """
        try:
            with self._celery.connection_for_read() as connection:
                channel = connection.default_channel
                if not isinstance(channel, kombu_redis.Channel):
                    return None
                with channel.conn_or_acquire() as client, client.pipeline() as pipe:
                    for step in channel.priority_steps:
                        key = channel.global_keyprefix + channel._q_for_pri(queue, step)
                        pipe.lrange(key, -limit, -1)
                    raw = [text for texts in pipe.execute() for text in reversed(texts)]
        except self.errors:
            return None
        return [step for text in raw if (step := _step(text)) is not None]


def _waiting(connection: Connection, queue: str) -> int:
    channel = connection.default_channel
    if isinstance(channel, kombu_redis.Channel):
        # To declare it would ask first whether it is there, and that without `global_keyprefix`.
        return int(channel._size(queue))
    # An error closes a channel, so each queue has one of its own.
    channel = connection.channel()
    try:
        declared = channel.queue_declare(queue=queue, passive=True)
    except connection.channel_errors:
        return 0
    channel.close()
    return int(declared.message_count)


def _step(message: bytes) -> Step | None:
    """Read a message as the Redis transport keeps it; None if it is for no stage."""
    try:
        envelope = json.loads(message)
        args, kwargs, _ = json.loads(base64.b64decode(envelope["body"]))
        step = from_kwargs(str(envelope["headers"]["task"]), tuple(args), kwargs)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return step if isinstance(step, Step) else None


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
