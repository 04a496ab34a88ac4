"""Messages rendered for the run store are Celery's own."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import redis

from milepost.tasks import Milepost
from milepost.tasks.head import Step

VARYING = ("id", "origin")


def _shape(raw: Any) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(raw)
    message["body"] = json.loads(base64.b64decode(message["body"]))
    for name in VARYING:
        message["headers"].pop(name)
    for name in ("correlation_id", "delivery_tag", "reply_to"):
        message["properties"].pop(name, None)
    return message


@pytest.mark.parametrize("priority", [0, 5, 9])
def test_rendered_equals_published(redis_url: str, priority: int) -> None:
    """Key and message are those that Celery would have sent, but for ids that are new each time."""
    app = Milepost(redis_url)
    pipeline = app.pipeline("p")
    pipeline.stage(name="first", queue="q", priority=priority)(lambda state: state)
    outbox = app.runtime.dispatch._outbox
    step = Step("run-1", 3, "first", timeline=2)

    outbox.render("p.first", Step("other", 0, "first"), "q", priority)
    rendered = outbox.render("p.first", step, "q", priority)
    outbox.publish("p.first", step, "q", priority)

    assert rendered is not None
    client = redis.Redis.from_url(redis_url)
    published = client.rpop(rendered.queue_key)
    client.close()
    assert published is not None
    sent, ours = _shape(published), _shape(rendered.payload)
    assert sent["headers"] == ours["headers"]
    assert sent == ours
