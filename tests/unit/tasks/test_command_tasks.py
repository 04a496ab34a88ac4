"""Commands on runs as Celery tasks; what they do is in ``tests/acceptance/test_flower.py``."""

from __future__ import annotations

import subprocess
import sys

import pytest
from celery import Celery

from milepost.checkpointing import Misconfigured
from milepost.tasks import Milepost, TaskSettings

NAMES = {"milepost.retry", "milepost.resume", "milepost.pause", "milepost.cancel"}


def test_they_are_not_other_peoples_tasks() -> None:
    """An app without any needs no emulation of acknowledgements; here, pytest's plug-ins add theirs."""
    judged = (
        "from milepost.tasks import Milepost; app = Milepost('redis://localhost:1/0'); "
        "raise SystemExit(app.has_foreign_tasks())"
    )

    subprocess.run([sys.executable, "-c", judged], check=True, timeout=30)


def test_every_app_has_them() -> None:
    """In a Celery app of its own or another's, on that app's default queue."""
    celery = Celery("shop", broker="memory://", set_as_current=False)
    celery.conf.task_default_queue = "shop"
    celery.conf.task_acks_late = True
    for app in (Milepost("redis://localhost:1/0"), Milepost(celery)):
        assert app.celery.tasks.keys() >= NAMES
    for name in NAMES:
        assert celery.amqp.router.route({}, name)["queue"].name == "shop"
        assert celery.tasks[name].acks_late is False


def test_a_stage_cannot_take_their_name() -> None:
    """A pipeline may be called so; a stage of it may not be a command."""
    pipeline = Milepost("redis://localhost:1/0", settings=TaskSettings()).pipeline("milepost")

    def retry(state: dict[str, int]) -> dict[str, int]:
        return state

    with pytest.raises(Misconfigured, match="retry exists already"):
        pipeline.stage(retry)
