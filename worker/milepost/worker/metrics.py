"""What can be measured: the catalogue of all metrics, and those that a worker counts."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

from milepost.tasks.head import Head
from milepost.tasks.observer import Ending, Observer, Outcome

Kind = Literal["counter", "gauge", "histogram"]
Source = Literal["worker", "store"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of metrics. Labels never hold run ids, tags or texts: their values are few and known.

    `source` says whose page has it: each worker's own, or the HTTP API's, which asks the stores.
    """

    name: str
    kind: Kind
    source: Source
    labels: tuple[str, ...]
    help: str

    @property
    def series(self) -> frozenset[str]:
        """The names that a query can use."""
        if self.kind == "histogram":
            return frozenset(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return frozenset({self.name})


_STAGE = ("pipeline", "stage")

TRIES = Metric(
    "milepost_stage_tries_total", "counter", "worker", (*_STAGE, "outcome"),
    "Tries of stages by what became of them.",
)  # fmt: skip
DURATION = Metric(
    "milepost_stage_duration_seconds", "histogram", "worker", _STAGE,
    "Time from claim to commit of the tries that committed.",
)  # fmt: skip
BYTES = Metric(
    "milepost_checkpoint_bytes_total", "counter", "worker", _STAGE,
    "Bytes of committed checkpoints as they are stored.",
)  # fmt: skip
RECOVERIES = Metric(
    "milepost_recoveries_total", "counter", "worker", (*_STAGE, "cause"),
    "Tries that went on where an earlier one was lost, by how it was lost.",
)  # fmt: skip
DEAD_LETTERED = Metric(
    "milepost_runs_dead_lettered_total", "counter", "worker", (*_STAGE, "cause"),
    "Runs that this worker saw become dead letters: their stage failed for good, or kept crashing.",
)  # fmt: skip
LOOKS = Metric(
    "milepost_reconciler_looks_total", "counter", "worker", ("outcome",),
    "Looks after runs: done, or failed because a store did not answer.",
)  # fmt: skip
PUBLISHED = Metric(
    "milepost_reconciler_published_total", "counter", "worker", (),
    "Messages put on queues by looks: of retries, delays, recoveries and lost messages.",
)  # fmt: skip
REPUBLISHED = Metric(
    "milepost_messages_republished_total", "counter", "worker", _STAGE,
    "Messages that were lost and published again.",
)  # fmt: skip
UNHEARD = Metric(
    "milepost_heartbeats_failed_total", "counter", "worker", (),
    "Heartbeats that the run store did not acknowledge.",
)  # fmt: skip
LAPSES = Metric(
    "milepost_heartbeat_lapses_total", "counter", "worker", (),
    "Times a process took its own claims for lost, and stopped writing.",
)  # fmt: skip
ASIDE = Metric(
    "milepost_messages_put_aside_total", "counter", "worker", (),
    "Messages that no task could be made of.",
)  # fmt: skip
AHEAD = Metric(
    "milepost_messages_ahead_total", "counter", "worker", (),
    "Messages of steps that their runs have not come to: the run store went back, or they are forged.",
)  # fmt: skip
LOOK_AGE = Metric(
    "milepost_reconciler_look_age_seconds", "gauge", "worker", (),
    "Time since this worker last looked after runs with success.",
)  # fmt: skip
READY = Metric(
    "milepost_worker_ready", "gauge", "worker", (),
    "1 while the worker takes messages, 0 while it cannot.",
)  # fmt: skip
STOPPING = Metric(
    "milepost_worker_stopping", "gauge", "worker", (),
    "1 from the moment the worker was told to stop.",
)  # fmt: skip
RUNS = Metric(
    "milepost_runs", "gauge", "store", ("status", "pipeline"), "Runs by status.",
)  # fmt: skip
QUEUE_DEPTH = Metric(
    "milepost_queue_depth", "gauge", "store", ("queue",), "Messages that wait on a queue.",
)  # fmt: skip
QUEUE_AGE = Metric(
    "milepost_queue_age_seconds", "gauge", "store", ("queue",),
    "How long the oldest message has waited on a queue; 0: none waits.",
)  # fmt: skip
WORKERS = Metric(
    "milepost_workers", "gauge", "store", (), "Processes that run stages and are alive.",
)  # fmt: skip
DEAD_LETTERS = Metric(
    "milepost_dead_letters", "gauge", "store", ("pipeline",), "Failed runs that wait for somebody.",
)  # fmt: skip
OLDEST_DUE = Metric(
    "milepost_oldest_due_seconds", "gauge", "store", (),
    "How long the run that is due longest has waited to be looked at; 0: none is due.",
)  # fmt: skip

CATALOGUE = (
    TRIES, DURATION, BYTES, RECOVERIES, DEAD_LETTERED, LOOKS, PUBLISHED, REPUBLISHED, UNHEARD, LAPSES, ASIDE,
    AHEAD, LOOK_AGE, READY, STOPPING, RUNS, QUEUE_DEPTH, QUEUE_AGE, WORKERS, DEAD_LETTERS, OLDEST_DUE,
)  # fmt: skip
"""All metrics there are: boards and alerts use no others."""

_BUCKETS = (0.005, 0.02, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400)


class WorkerMetrics(Observer):
    """Counts what the processes of a worker do.

    Made before pool processes are forked. None of them may be forked while a thread is counting, because
    prometheus-client's own lock would stay closed in the child for ever: so forks wait for this one.
    """

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._lock = threading.Lock()
        os.register_at_fork(
            before=self._lock.acquire,
            after_in_parent=self._lock.release,
            after_in_child=self._lock.release,
        )

        def counter(metric: Metric) -> Counter:
            return Counter(metric.name, metric.help, metric.labels, registry=registry)

        self._tries, self._bytes = counter(TRIES), counter(BYTES)
        self._recoveries, self._dead_lettered = counter(RECOVERIES), counter(DEAD_LETTERED)
        self._looks, self._published = counter(LOOKS), counter(PUBLISHED)
        self._republished, self._aside = counter(REPUBLISHED), counter(ASIDE)
        self._ahead = counter(AHEAD)
        self._unheard, self._lapses = counter(UNHEARD), counter(LAPSES)
        self._duration = Histogram(
            DURATION.name, DURATION.help, DURATION.labels, registry=registry, buckets=_BUCKETS
        )
        for outcome in ("done", "failed"):
            self._looks.labels(outcome)

    def begin(self, head: Head, stage: str) -> Ending:
        pipeline, began = head.pipeline, time.monotonic()
        if head.recovered_from:
            with self._lock:
                self._recoveries.labels(pipeline, stage, head.recovered_from).inc()

        def end(outcome: Outcome, error: BaseException | None) -> None:
            with self._lock:
                self._tries.labels(pipeline, stage, outcome.value).inc()
                if outcome is Outcome.COMMITTED:
                    self._duration.labels(pipeline, stage).observe(time.monotonic() - began)
                elif outcome is Outcome.FAILED:
                    self._dead_lettered.labels(pipeline, stage, "failure").inc()

        return end

    def committed(self, head: Head, stage: str, size_bytes: int) -> None:
        with self._lock:
            self._bytes.labels(head.pipeline, stage).inc(size_bytes)

    def crashed(self, head: Head) -> None:
        with self._lock:
            self._dead_lettered.labels(head.pipeline, head.stage, "crash").inc()

    def looked(self, published: int | None) -> None:
        with self._lock:
            self._looks.labels("failed" if published is None else "done").inc()
            if published:
                self._published.inc(published)

    def republished(self, head: Head) -> None:
        with self._lock:
            self._republished.labels(head.pipeline, head.stage).inc()

    def unheard(self) -> None:
        with self._lock:
            self._unheard.inc()

    def lapsed(self) -> None:
        with self._lock:
            self._lapses.inc()

    def put_aside(self) -> None:
        with self._lock:
            self._aside.inc()

    def came_ahead(self) -> None:
        with self._lock:
            self._ahead.inc()
