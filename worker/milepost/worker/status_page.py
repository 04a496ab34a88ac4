"""The page of a worker: ``/metrics``, ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, ClassVar
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from celery import bootsteps
from celery.signals import worker_process_init, worker_shutdown, worker_shutting_down

from milepost.checkpointing import MissingExtra
from milepost.checkpointing.redaction import redacted
from milepost.tasks import Milepost, liveness

try:
    from prometheus_client import REGISTRY, CollectorRegistry, make_wsgi_app
    from prometheus_client.exposition import ThreadingWSGIServer
except ImportError:
    raise MissingExtra("Metrics", "metrics") from None

from .health import Health as Health
from .metrics import WorkerMetrics
from .settings import WorkerSettings
from .shared_values import SharedValues


class StatusPage(bootsteps.StartStopStep):
    """Serves the page from a thread of the main process.

    The port is taken and the metrics are made before pool processes are forked, so that a port which is taken
    keeps the worker from starting, and all processes count together. Metrics that stages make themselves with
    prometheus-client are on the page, too, where it
    lets them be shared.
    """

    requires = ("celery.worker.components:Pool",)
    app: ClassVar[Milepost]
    """Set by the subclass that `install` makes."""
    health: ClassVar[Health]
    """The same; `Consuming` tells it of the consumer."""

    def __init__(self, worker: Any, **_: Any) -> None:
        settings = WorkerSettings()
        registry = CollectorRegistry()
        registry.register(self.health)
        self._shared = None
        if "prefork" in worker.pool_cls.__module__:
            self._shared = SharedValues(liveness.home(self.app.settings))
            self._shared.register(registry)
            sources = [registry]
            metrics = WorkerMetrics(None)
        else:
            # In one process, what stages count stands in the registry of all.
            sources = [registry, REGISTRY]
            metrics = WorkerMetrics(registry)
        self.app.observers.add(metrics)
        self.app.observers.add(self.health)
        try:
            self._server = make_server(
                settings.metrics_host,
                settings.metrics_port or 0,
                page(sources, self.health),
                server_class=_Server,
                handler_class=_Silent,
            )
        except OSError as error:
            raise SystemExit(
                f"milepost: Metrics cannot be served at {settings.metrics_host}:{settings.metrics_port}: "
                f"{error}. Each worker of a host needs a MILEPOST_METRICS_PORT of its own."
            ) from None
        self._pid = os.getpid()
        # A port that a pool process holds cannot be taken by the worker that comes after this one.
        worker_process_init.connect(self._leave_port, weak=False)
        worker_shutting_down.connect(self._on_shutting_down, weak=False)
        worker_shutdown.connect(self._on_shutdown, weak=False)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="milepost-status-page", daemon=True
        )

    def start(self, worker: Any) -> None:
        """Serve."""
        self._thread.start()

    def _leave_port(self, **_: Any) -> None:
        # The solo pool announces its only process, too.
        if os.getpid() != self._pid:
            self._server.socket.close()

    def _on_shutting_down(self, **_: Any) -> None:
        self.health.stopping = True

    def _on_shutdown(self, **_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
        if self._shared is not None:
            self._shared.close()


class Consuming(bootsteps.StartStopStep):
    """Tells whether the consumer takes messages: Celery stops and starts it when it loses the broker."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    health: ClassVar[Health]

    def start(self, consumer: Any) -> None:
        """It does."""
        self.health.consuming = True

    def stop(self, consumer: Any) -> None:
        """It does not."""
        self.health.consuming = False

    shutdown = stop


class _Server(ThreadingWSGIServer):
    """Listens at addresses of either family."""

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


class _Silent(WSGIRequestHandler):
    """Logs no requests, and waits for none that does not come."""

    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return


class _Several:
    """Registries as one, for prometheus-client's own application."""

    def __init__(self, registries: list[Any]) -> None:
        self._registries = registries

    def collect(self) -> Iterable[Any]:
        for registry in self._registries:
            yield from registry.collect()

    def restricted_registry(self, names: Iterable[str]) -> Any:
        wanted = list(names)
        return _Several([each.restricted_registry(wanted) for each in self._registries])


def page(
    registries: list[CollectorRegistry], health: Health
) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """Return the WSGI application."""
    metrics = make_wsgi_app(_Several(registries))

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                found: Iterable[bytes] = metrics(environ, start_response)
                return found
            case "/healthz":
                return _report(health.illness(), start_response)
            case "/readyz":
                return _report(health.hindrance(), start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"Here are /metrics, /healthz and /readyz.\n"]

    return answer


def _report(why_not: str, start_response: StartResponse) -> Iterable[bytes]:
    status = "503 Service Unavailable" if why_not else "200 OK"
    start_response(status, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
    text = json.dumps({"ok": not why_not, **({"reason": redacted(why_not)} if why_not else {})})
    return [text.encode() + b"\n"]
