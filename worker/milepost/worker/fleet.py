"""The fleet: all workers of one run store, and the queues they take from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from milepost.checkpointing import Misconfigured
from milepost.tasks import Milepost
from milepost.tasks.runs.registry import Note

from .errors import UnknownWorker
from .orders import is_told, order, told_by
from .presence import DRAINS, QUEUES, WORKERS
from .queue_age import QueueAges
from .reports import QueueReport, State, WorkerReport
from .settings import WorkerSettings

__all__ = ["Fleet", "QueueReport", "WorkerReport"]
logger = logging.getLogger("milepost.worker")
_LONGEST_NAME = 255


class Fleet:
    """Looks at workers and queues and commands them through the run store, whatever the broker is.

    Raises:
        Unavailable: Any method; the run store does not answer.
    """

    def __init__(self, app: Milepost, settings: WorkerSettings | None = None) -> None:
        self._app = app
        self._settings = settings or WorkerSettings()

    def workers(self) -> list[WorkerReport]:
        """Return all workers by name; those that have been silent for long are dropped on the way."""
        runs = self._app.runs
        reports, orders, now = runs.kept(WORKERS), runs.kept(DRAINS), runs.now()
        lapse_ms = self._app.settings.heartbeat_lapse_seconds * 1000
        found = []
        for key, text in reports.items():
            try:
                report = WorkerReport.from_json(text)
            except ValueError as error:
                logger.warning("Entry %.100s of the fleet cannot be read: %s", key, error)
                continue
            silent_ms = now - report.seen_at
            if silent_ms > self._settings.forget_worker_seconds * 1000:
                # If it is there after all, its next report brings it back.
                runs.keep(WORKERS, key, None)
                runs.keep(DRAINS, key, None)
                continue
            state: State = report.state
            if silent_ms > lapse_ms:
                state = "silent"
            elif key in orders and is_told(orders[key], report.started_at):
                state = "draining"
            found.append(replace(report, state=state))
        return sorted(found, key=lambda report: (report.name, report.host, report.pid))

    def queues(self, workers: Sequence[WorkerReport] | None = None) -> list[QueueReport]:
        """Return the queues that workers take from, that stages are routed to or that are paused, by name.

        Args:
            workers: What `workers` has just returned, if it was asked.
        """
        workers = self.workers() if workers is None else workers
        up = [worker for worker in workers if worker.state == "up"]
        paused = self.paused_queues()
        names = {*paused, *self.routed_queues(), *(q for worker in workers for q in worker.queues)}
        depths = self._app.runtime.dispatch.outbox.waiting_on(sorted(names))
        ages = QueueAges(self._app)
        return [
            QueueReport(
                name=name,
                depth=depths.get(name),
                age_seconds=ages.seconds(name, depths.get(name)),
                paused=name in paused,
                paused_by=paused.get(name, ""),
                workers=sum(name in worker.queues for worker in up),
                running=sum(w.busy.get(name, 0) for w in workers if w.state != "silent"),
                capacity=sum(worker.concurrency for worker in up if name in worker.queues),
            )
            for name in sorted(names)
        ]

    def pause_queue(self, name: str, by: str) -> None:
        """Let no worker take from a queue, until `resume_queue`; pausing twice is harmless.

        Workers hear of it within two seconds, and finish what they have taken. Runs wait on the queue.

        Raises:
            Misconfigured: It is no name of a queue.
        """
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise Misconfigured(
                f"{name[:100]!r} is no name of a queue: expected 1 to {_LONGEST_NAME} printable characters."
            )
        runs = self._app.runs
        runs.note(Note("", by, "pause-queue", name))
        runs.keep_first(QUEUES, name, order(by, at=runs.now()))

    def resume_queue(self, name: str, by: str) -> None:
        """Let workers take from a queue again; harmless if it is not paused."""
        self._app.runs.note(Note("", by, "resume-queue", name))
        self._app.runs.keep(QUEUES, name, None)

    def drain(self, worker_name: str, by: str) -> list[WorkerReport]:
        """Tell the workers of that name to leave, and return them.

        They take nothing any more; stages in progress have the grace period (``MILEPOST_GRACE_SECONDS``),
        and are then handed to other workers. What supervises a worker may start a new one, which is not
        told to leave.

        Raises:
            UnknownWorker: None of that name has been heard of lately.
        """
        workers = self.workers()
        told = [w for w in workers if w.name == worker_name and w.state != "silent"]
        if not told:
            names = ", ".join(sorted({w.name for w in workers if w.state != "silent"}))
            raise UnknownWorker(
                f"No worker {worker_name} is up in {self._app.runs.location}; there are: {names or 'none'}."
            )
        self._app.runs.note(Note("", by, "drain", worker_name))
        for worker in told:
            told_so = order(by, started_at=worker.started_at)
            self._app.runs.keep(DRAINS, worker.key, told_so)
        return told

    def paused_queues(self) -> dict[str, str]:
        """Return the queues that are paused, and by whom."""
        return {name: told_by(text) for name, text in self._app.runs.kept(QUEUES).items()}

    def routed_queues(self) -> set[str]:
        """Return the queues to which stages of the pipelines defined here are routed."""
        routing = self._app.runtime.routing
        return {
            routing.next(pipeline.name, stage).queue
            for versions in self._app.versions.values()
            for pipeline in versions.known
            for stage in pipeline.stages.values()
        }
