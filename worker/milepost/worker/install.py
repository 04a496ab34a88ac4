"""What Milepost adds to a Celery worker, however it was started."""

from __future__ import annotations

from typing import Any

from milepost.tasks import Milepost

from .events import EventBatches
from .guardian import Guardian


def install(app: Milepost, worker: Any) -> None:
    """Add Milepost's services to *worker*; called by `Milepost` when Celery announces it.

    Where the Celery app is Milepost's own and runs nothing but stages, kombu's emulation of
    acknowledgements is switched off: it costs two transactions a message, and messages that are lost
    are made again from the run store. Beside other people's tasks it stays on.
    """
    if app.owns_celery and not app.has_foreign_tasks():
        options = {**app.celery.conf.broker_transport_options, "ack_emulation": False}
        app.celery.conf.broker_transport_options = options
    Guardian.app = app
    app.celery.steps["worker"].add(Guardian)
    app.celery.steps["consumer"].add(EventBatches)
