"""Figures for Prometheus: of the stores, asked when they are scraped, and of the API itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from milepost.tasks import RunStatus
from milepost.worker.fleet import Fleet

if TYPE_CHECKING:
    from .site import Site

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30)


class ApiMetrics:
    """Counts requests by route. Paths are those of routes, never of runs."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "milepost_api_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "milepost_api_request_seconds",
            "How long requests took, to the last byte of the answer.",
            ("route",),
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request; status 0 had no answer."""
        known = method if method in _METHODS else "other"
        self._requests.labels(route, known, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def page(self, site: Site) -> bytes:
        """Return all figures as Prometheus reads them; asks the stores."""
        stores = CollectorRegistry()
        stores.register(_Stores(site))
        return generate_latest(stores) + generate_latest(self.registry)


_METHODS = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})


class _Stores(Collector):
    def __init__(self, site: Site) -> None:
        self._site = site

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Ask the run store and the broker."""
        runs = GaugeMetricFamily("milepost_runs", "Runs by status.", labels=("status", "pipeline"))
        dead = GaugeMetricFamily(
            "milepost_dead_letters",
            "Failed runs that wait for somebody.",
            labels=("pipeline",),
        )
        for (pipeline, status), number in self._site.app.runs.counts().items():
            runs.add_metric((status.value, pipeline), number)
            if status is RunStatus.FAILED:
                dead.add_metric((pipeline,), number)
        yield runs
        yield dead
        feed = self._site.feed
        yield GaugeMetricFamily(
            "milepost_api_streams", "Clients that follow runs.", value=len(feed)
        )
        yield CounterMetricFamily(
            "milepost_api_streams_dropped",
            "Clients that were too slow to follow.",
            value=feed.dropped,
        )
        due, now = self._site.app.runs.oldest_due(), self._site.app.runs.now()
        yield GaugeMetricFamily(
            "milepost_oldest_due_seconds",
            "How long the run that is due longest was not looked at.",
            value=0.0 if due is None else max(0, now - due) / 1000,
        )
        yield from self._fleet()

    def _fleet(self) -> Iterator[GaugeMetricFamily]:
        fleet = Fleet(self._site.app)
        found = fleet.workers()
        workers = sum(worker.state != "silent" for worker in found)
        yield GaugeMetricFamily("milepost_workers", "Workers that are alive.", value=workers)
        depth = GaugeMetricFamily(
            "milepost_queue_depth", "Messages that wait on a queue.", labels=("queue",)
        )
        age = GaugeMetricFamily(
            "milepost_queue_age_seconds",
            "How long the oldest message has waited on a queue; 0: none waits.",
            labels=("queue",),
        )
        for queue in fleet.queues(found):
            if queue.depth is not None:
                depth.add_metric((queue.name,), queue.depth)
            age.add_metric((queue.name,), queue.age_seconds or 0.0)
        yield depth
        yield age
