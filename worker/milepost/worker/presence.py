"""A worker's presence in its fleet: it reports itself, leaves paused queues alone, and goes when told to."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import Counter
from typing import Any

from celery.signals import worker_shutting_down
from celery.worker import state as celery_state

from milepost.checkpointing import CheckpointError
from milepost.tasks import Milepost

from .orders import is_told, told_by
from .reports import WorkerReport, worker_key
from .software import software

logger = logging.getLogger("milepost.worker")
WORKERS, QUEUES, DRAINS = "worker", "queue", "drain"
"""The kinds of entries in the run store: reports by workers' keys, paused queues, orders to leave."""
_POOLS = {"thread": "threads"}
"""Modules that are not named as what ``-P`` takes."""
_ASK_SECONDS = 0.5
_REPORT_SECONDS = 3.0
_APPLY_AGAIN_SECONDS = 10.0


class Presence:
    """Keeps a thread that speaks with the run store: orders reach a worker whatever its broker is.

    Twice a second it asks for orders; every three seconds, and when anything of note has changed, it
    writes the report. Queues are given up and taken again in Celery's own loop, to which nothing else
    may speak.

    Args:
        worker: Celery's.
        stopping: Set while the worker is on its way out.
    """

    def __init__(self, app: Milepost, worker: Any, stopping: threading.Event) -> None:
        self._app = app
        self._runs = app.runs
        self._worker = worker
        self._stopping = stopping
        self._every = min(_REPORT_SECONDS, app.settings.heartbeat_lapse_seconds / 3)
        self._software = software()
        self._started_at = 0
        self._paused: frozenset[str] = frozenset()
        self._withheld: set[str] = set()
        self._applying_since: float | None = None
        self._reported: tuple[Any, ...] = ()
        self._report_at = 0.0
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._go_on, name="milepost-presence", daemon=True)

    def start(self) -> None:
        """Give up what is paused, before the first message is taken, and report from now on."""
        self._started_at = self._runs.now()
        self._paused = frozenset(self._runs.kept(QUEUES))
        for name in self._paused & self._taken.keys():
            self._withheld.add(name)
            self._app.celery.amqp.queues.deselect(name)
        self._report()
        self._thread.start()

    def leave(self) -> None:
        """Take the report away; nothing is written from now on. Twice is harmless."""
        self._ended.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=2)
        with self._lock:
            if not self._started_at:
                return
            self._started_at = 0
            try:
                self._runs.keep(WORKERS, self._key, None)
                self._runs.keep(DRAINS, self._key, None)
            except CheckpointError as error:
                logger.warning("Could not leave the fleet in order: %s", error)

    def report(self) -> WorkerReport:
        """Return what there is to say of this worker; asks the run store for the time."""
        holding, busy = self._held()
        pool = self._worker.pool_cls.__module__.rpartition(".")[2]
        before = time.time()
        now = self._runs.now()
        pipelines = self._app.versions.values()
        return WorkerReport(
            name=str(self._worker.hostname),
            host=socket.gethostname(),
            pid=os.getpid(),
            pool=_POOLS.get(pool, pool),
            concurrency=self._concurrency,
            queues=tuple(sorted({*self._taken, *self._withheld})),
            started_at=self._started_at,
            seen_at=now,
            state="draining" if self._stopping.is_set() else "up",
            versions={versions.name: versions.current.version for versions in pipelines},
            holding=holding,
            busy=busy,
            known={
                f"{versions.name} {pipeline.version}": pipeline.known_stages
                for versions in pipelines
                for pipeline in versions.known
            },
            software=self._software,
            clock_skew_ms=int((before + time.time()) * 500) - now,
        )

    def _go_on(self) -> None:
        while not self._ended.wait(min(_ASK_SECONDS, self._every)):
            try:
                self._obey()
                self._report_when_due()
            except CheckpointError as error:
                logger.warning("Cannot speak with the run store: %s", error)
            except Exception:
                # A worker that cannot be seen can still work.
                logger.exception("Reporting failed; it goes on.")

    @property
    def _key(self) -> str:
        return worker_key(str(self._worker.hostname), socket.gethostname(), os.getpid())

    @property
    def _taken(self) -> dict[str, Any]:
        """The queues that Celery takes from now, or will when it has connected."""
        return dict(self._app.celery.amqp.queues.consume_from)

    @property
    def _concurrency(self) -> int:
        pool = self._worker.pool
        return int(getattr(pool, "num_processes", 0) or self._worker.concurrency or 1)

    def _obey(self) -> None:
        self._paused = frozenset(self._runs.kept(QUEUES))
        taken = self._taken
        if (self._paused & taken.keys()) or (self._withheld - self._paused):
            self._apply_soon()
        if not self._stopping.is_set() and self._told_to_leave():
            # What Celery's own handler of SIGTERM does; a signal may be given another meaning.
            worker_shutting_down.send(
                sender=self._worker.hostname, sig="drain", how="Warm", exitcode=os.EX_OK
            )
            celery_state.should_stop = os.EX_OK
            self._worker.consumer.call_soon(_wake)

    def _told_to_leave(self) -> bool:
        order = self._runs.kept_one(DRAINS, self._key)
        # A container that is started again has the name and the pid of the one that was told.
        if order is None or not is_told(order, self._started_at):
            return False
        logger.warning("Draining, as told by %s.", told_by(order))
        return True

    def _apply_soon(self) -> None:
        since, now = self._applying_since, time.monotonic()
        # A loop that connects anew drops what it was to do; one in which a stage runs (solo) does it later.
        if since is None or now - since > _APPLY_AGAIN_SECONDS:
            self._applying_since = now
            self._worker.consumer.call_soon(self._apply)

    def _apply(self) -> None:
        """Give up and take again queues; runs in the loop of Celery's consumer."""
        self._applying_since = None
        consumer = self._worker.consumer
        try:
            for name in self._paused & self._taken.keys():
                self._withheld.add(name)
                if consumer.task_consumer is None:
                    self._app.celery.amqp.queues.deselect(name)
                else:
                    consumer.cancel_task_queue(name)
                logger.warning("Queue %s is paused.", name)
            for name in self._withheld - self._paused:
                if consumer.task_consumer is not None:
                    consumer.add_task_queue(name)
                    self._withheld.discard(name)
                    logger.warning("Queue %s is taken from again.", name)
        except consumer.connection_errors:
            # Celery connects anew, and then to what it is to take from by now.
            raise
        except Exception:
            logger.exception("Queues could not be changed; it is tried again.")

    def _report_when_due(self) -> None:
        now = time.monotonic()
        noteworthy = (self._stopping.is_set(), self._taken.keys())
        if now >= self._report_at or noteworthy != self._reported:
            self._reported = noteworthy
            self._report()

    def _report(self) -> None:
        self._report_at = time.monotonic() + self._every
        with self._lock:
            if self._started_at:
                report = self.report()
                self._runs.keep(WORKERS, report.key, report.to_json())

    def _held(self) -> tuple[tuple[str, ...], dict[str, int]]:
        """Return the runs whose stages this worker runs, and how many of them are of which queue."""
        holding: set[str] = set()
        busy: Counter[str] = Counter()
        queues = {q.routing_key: name for name, q in [*self._app.celery.amqp.queues.items()]}
        for request in _active():
            kwargs = request.kwargs
            if request.name in self._app.stage_tasks and isinstance(kwargs, dict):
                holding.add(str(kwargs.get("run_id")))
                routed = (request.delivery_info or {}).get("routing_key")
                busy[str(queues.get(routed, routed))] += 1
        return tuple(sorted(holding)), dict(busy)


def _active() -> list[Any]:
    """Return what the pool has accepted; Celery's own thread may change that at any time."""
    for _ in range(10):
        try:
            return [*celery_state.active_requests]
        except RuntimeError:
            continue
    return []


def _wake() -> None:
    """Nothing: the loop goes round, and sees that it is to end."""
