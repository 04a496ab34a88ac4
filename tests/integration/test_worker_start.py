"""A worker that could only do harm does not start."""

from __future__ import annotations

from pathlib import Path

from support.processes import Worker

YAML = """
from celery import Celery
from milepost.tasks import Milepost

app = Celery("tasteful", broker={url!r}, set_as_current=False)
app.conf.accept_content = ["yaml"]
durable = Milepost(app)


@durable.pipeline("one").stage
def go(state: dict) -> dict:
    return state
"""


def test_one_that_accepts_no_json(redis_url: str, tmp_path: Path) -> None:
    """It would take the messages of stages off the queue, and refuse each."""
    (tmp_path / "yaml_app.py").write_text(YAML.format(url=redis_url))
    with Worker("yaml_app", tmp_path, {}) as worker:
        assert worker.wait_exit() != 0
        assert "This worker accepts yaml; messages of stages are JSON." in worker.text()
