"""Kombu's Redis transport, unimpressed by what is no message.

A value on the queue that is no JSON, or not of a message's shape, ends a plain Celery worker; and since it
is taken off the queue at a reconnect, the next one, too. Here it is put aside with its reason, and the queue
moves on.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from traceback import walk_tb
from typing import Any

from kombu.transport import redis
from kombu.utils import json

PutAside = Callable[[str, str], None]
OPTION = "milepost_put_aside"
"""The transport option that says what to do with such a value."""


class Channel(redis.Channel):
    """Reads messages; what is no JSON is put aside."""

    heard: int | None = None
    """How many received the last event; None before the first."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (ValueError, RecursionError) as error:
            # The value itself is known only to the frame that could not read it.
            frames = [frame for frame, _ in walk_tb(error.__traceback__)]
            raw = next((f.f_locals["item"] for f in frames if "item" in f.f_locals), b"")
            put_aside(self.connection.client, f"no message: {error}", repr(raw))
            raise redis.Empty from None

    def _put_fanout(self, exchange: Any, message: Any, routing_key: Any, **options: Any) -> None:
        if "_publish_batch" in options:
            super()._put_fanout(exchange, message, routing_key, **options)
            return
        payload = json.dumps(message)
        with self.conn_or_acquire() as client:
            topics = self._get_publish_topics(exchange, routing_key)
            self.heard = sum(client.publish(topic, payload) for topic in topics)


class Transport(redis.Transport):
    """Delivers messages; what has not the shape of one is put aside."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        reason = _malformed(message)
        if reason is None:
            super()._deliver(message, queue)
        else:
            put_aside(self.client, reason, repr(message))


class SocketTransport(Transport):
    """The same for a unix socket, whose URL kombu leaves to the transport."""

    can_parse_url = True


ALIASES = {
    "milepost": f"{__name__}:{Transport.__name__}",
    "milepost-socket": f"{__name__}:{SocketTransport.__name__}",
}
"""The names under which kombu is to find them."""


def put_aside(client: Any, reason: str, raw: str) -> None:
    """Hand a value to whoever keeps such values."""
    keep: PutAside | None = client.transport_options.get(OPTION)
    if keep is not None:
        keep(reason, raw)


def _malformed(message: Any) -> str | None:
    """Return what keeps *message* from being one."""
    if not isinstance(message, dict):
        return f"expected an object, found {type(message).__name__}"
    properties = message.get("properties")
    if not isinstance(properties, dict) or not isinstance(properties.get("delivery_tag"), str):
        return "it has no properties with a delivery tag"
    if not isinstance(properties.get("delivery_info"), dict):
        return "it has no delivery information"
    if not isinstance(message.get("headers"), dict) or not isinstance(message.get("body"), str):
        return "it has no headers or no body"
    match properties.get("body_encoding"):
        case None | "utf-8":
            return None
        case "base64":
            try:
                b64decode(message["body"], validate=True)
            except ValueError:
                return "its body is no base64"
            return None
    return f"its body is encoded as {properties['body_encoding']!r}"
