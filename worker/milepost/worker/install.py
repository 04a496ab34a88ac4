"""What Milepost adds to a Celery worker, however it was started."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery.exceptions import InvalidTaskError
from celery.signals import task_internal_error, worker_process_init, worker_ready
from kombu.transport import TRANSPORT_ALIASES

from milepost.checkpointing import Misconfigured
from milepost.checkpointing.redaction import SECRETS, redact_output
from milepost.checkpointing.redis_connection import SCHEMES as REDIS_SCHEMES
from milepost.tasks import Milepost
from milepost.tasks.trace import configured_tracer

from . import transport
from .aside import Aside
from .events import EventBatches
from .guardian import Guardian
from .intake import Intake
from .revocation import Revocations
from .settings import WorkerSettings


def install(app: Milepost, worker: Any) -> None:
    """Add Milepost's services to *worker*; called by `Milepost` when Celery announces it.

    Where the Celery app is Milepost's own and runs nothing but stages, kombu's emulation of
    acknowledgements is switched off: it costs two transactions a message, and messages that are lost
    are made again from the run store. Beside other people's tasks it stays on.
    """

    redact_output()
    try:
        _see(app)
    except Misconfigured as error:
        # Celery would log it and go on, as it would any exception of a receiver but this.
        raise SystemExit(f"milepost: {error}") from None
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


def _trace_if_configured(app: Milepost, **_: Any) -> None:
    """Trace, if the application has set OpenTelemetry up: at import, or when its process began."""
    if configured_tracer() is not None:
        from .tracing import Tracing

        Tracing.join(app.observers)


def _see(app: Milepost) -> None:
    """Add what lets people see: metrics, traces and logs, each only where it is wanted."""
    settings, conf = WorkerSettings(), app.celery.conf
    for url in (conf.broker_read_url, conf.broker_write_url, conf.broker_url, conf.result_backend):
        for each in url if isinstance(url, list | tuple) else (url,):
            SECRETS.learn_url(str(each or ""))
    if settings.log_format == "json":
        from .logs import LogContext, write_json

        app.observers.add(LogContext())
        write_json()
    tracing = partial(_trace_if_configured, app)
    worker_process_init.connect(tracing, weak=False)
    worker_ready.connect(tracing, weak=False)
    if settings.metrics_port is not None:
        from .status_page import Consuming, Health, StatusPage

        about = {"app": app, "health": Health(app)}
        app.celery.steps["worker"].add(type("StatusPage", (StatusPage,), about))
        app.celery.steps["consumer"].add(type("Consuming", (Consuming,), about))
