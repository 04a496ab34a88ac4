"""What Milepost adds to a Celery worker, however it was started."""

from __future__ import annotations

from typing import Any

from celery.exceptions import InvalidTaskError
from celery.signals import task_internal_error
from kombu.transport import TRANSPORT_ALIASES

from milepost.checkpointing.redis_connection import SCHEMES as REDIS_SCHEMES
from milepost.tasks import Milepost

from . import transport
from .aside import Aside
from .events import EventBatches
from .guardian import Guardian
from .intake import Intake
from .revocation import Revocations


def install(app: Milepost, worker: Any) -> None:
    """Add Milepost's services to *worker*; called by `Milepost` when Celery announces it.

    Where the Celery app is Milepost's own and runs nothing but stages, kombu's emulation of
    acknowledgements is switched off: it costs two transactions a message, and messages that are lost
    are made again from the run store. Beside other people's tasks it stays on.
    """

    put_aside = Aside(app)

    def on_internal_error(
        sender: Any = None, args: Any = None, kwargs: Any = None, exception: Any = None, **_: Any
    ) -> None:
        if isinstance(exception, InvalidTaskError):
            put_aside(f"{exception}", repr({"task": sender.name, "args": args, "kwargs": kwargs}))

    # Now, because pool processes inherit it.
    task_internal_error.connect(on_internal_error, weak=False)
    conf = app.celery.conf
    if "json" not in conf.accept_content and "application/json" not in conf.accept_content:
        # Celery would log any other exception of a receiver and go on.
        raise SystemExit(
            f"milepost: This worker accepts {', '.join(conf.accept_content) or 'no content'}; messages of "
            "stages are JSON. Add 'json' to accept_content."
        )
    options = {**conf.broker_transport_options, transport.OPTION: put_aside}
    if app.owns_celery and not app.has_foreign_tasks():
        options["ack_emulation"] = False
    conf.broker_transport_options = options
    url = str(conf.broker_read_url)
    if not conf.broker_transport and url.split("://")[0] in REDIS_SCHEMES:
        # A "+" in the scheme would name the transport, and win over the one that is set.
        TRANSPORT_ALIASES.update(transport.ALIASES)
        by_socket = url.startswith("redis+")
        conf.update(
            broker_transport="milepost-socket" if by_socket else "milepost",
            broker_read_url=url.removeprefix("redis+"),
        )
    app.celery.steps["worker"].add(type("Guardian", (Guardian,), {"app": app}))
    app.celery.steps["worker"].add(type("Revocations", (Revocations,), {"app": app}))
    app.celery.steps["consumer"].add(EventBatches)
    app.celery.steps["consumer"].add(
        type("Intake", (Intake,), {"put_aside": put_aside, "turn_away": app.turn_away})
    )
