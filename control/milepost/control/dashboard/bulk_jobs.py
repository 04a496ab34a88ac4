"""Bulk commands that go on while people look at them."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from secrets import token_hex

from milepost.checkpointing import MilepostError, Unavailable
from milepost.tasks import Bulk, Command, Milepost, RunQuery, Summary
from milepost.tasks.lifecycle import Lifecycle

from ..api.places import Places
from .session import Session

_KIND = "bulk-job"
_STOP = "bulk-stop"
"""Who has stopped a job, whatever process it runs in."""
_KEPT_SECONDS = 86400.0
_TELL_SECONDS = 0.5
_SILENT_SECONDS = 30.0
_LEAVE_SECONDS = 3.0
"""How long the end of the server waits for jobs to notice it."""
logger = logging.getLogger("milepost.dashboard")


@dataclass(slots=True)
class BulkJob:
    """How far a bulk command has come. Times are seconds since 1970, by the clock of who does it."""

    id: str
    command: str
    by: str
    what: str
    """Of which runs, in words."""
    expected: int
    tenant: str = ""
    state: str = "running"
    """``running``, ``done``, ``stopped`` or ``failed``."""
    stopped_by: str = ""
    """Who has stopped it, or is about to; empty if it was stopped because its server ended."""
    done: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    error: str = ""
    began_at: float = 0.0
    told_at: float = 0.0

    @property
    def refusals(self) -> int:
        """How many runs were refused."""
        return sum(self.refused.values())

    @property
    def is_lost(self) -> bool:
        """Whether nothing was heard of it for so long that its process must be gone."""
        return self.state == "running" and time.time() - self.told_at > _SILENT_SECONDS


class _Stopped(Exception):
    """Ends a bulk command between two runs."""


class BulkJobs:
    """Begins bulk commands in threads of this process; any process of the deployment tells how they stand.

    A process that dies leaves some runs done and others not; doing the command again does the rest.

    Args:
        places: How many there are at once.
    """

    def __init__(self, app: Milepost, places: Places | None = None) -> None:
        self._app = app
        self._places = places or Places("bulk commands", 4, 8)
        self._closing = threading.Event()
        self._threads: set[threading.Thread] = set()

    def begin(
        self,
        command: Command,
        target: RunQuery | Sequence[str],
        lifecycle: Lifecycle,
        session: Session,
        *,
        what: str,
        expected: int,
        rate_per_second: float | None = None,
    ) -> str:
        """Begin a command and return the job's id.

        Args:
            target: The runs meant: those that a query finds, or of these ids.
            what: The same in words.
            expected: On how many it is done at most.

        Raises:
            Problem: Too many go on already.
        """
        now = time.time()
        by, tenant = lifecycle.by, session.tenant
        job = BulkJob(token_hex(8), command, by, what, expected, tenant, began_at=now, told_at=now)

        def work() -> None:
            try:
                try:
                    self._do(job, command, target, lifecycle, rate_per_second)
                finally:
                    self._places.give_back(session)
                # Who sees that it has ended can begin another.
                self._keep(job)
                self._app.runs.keep(_STOP, job.id, None)
            finally:
                self._threads.discard(thread)

        thread = threading.Thread(target=work, name=f"bulk-{job.id}", daemon=True)
        self._places.take(session)
        try:
            self._forget_old(now)
            self._keep(job)
            self._threads.add(thread)
            thread.start()
        except BaseException:
            self._places.give_back(session)
            self._threads.discard(thread)
            raise
        return job.id

    def find(self, job_id: str) -> BulkJob | None:
        """Return a job of the last day."""
        kept = self._app.runs.kept_one(_KIND, job_id)
        if kept is None:
            return None
        job = BulkJob(**json.loads(kept))
        if job.state == "running":
            job.stopped_by = self._app.runs.kept_one(_STOP, job_id) or ""
        return job

    def stop(self, job: BulkJob, by: str) -> None:
        """Let a job end before its next run, in half a second, in whatever process it goes on."""
        if job.state == "running" and not job.is_lost:
            self._app.runs.keep(_STOP, job.id, by)

    def close(self) -> None:
        """Let all jobs of this process end before their next runs; they say that they were stopped."""
        self._closing.set()
        end = time.monotonic() + _LEAVE_SECONDS
        for thread in [*self._threads]:
            thread.join(max(0.0, end - time.monotonic()))

    def _do(
        self,
        job: BulkJob,
        command: Command,
        target: RunQuery | Sequence[str],
        lifecycle: Lifecycle,
        rate_per_second: float | None,
    ) -> None:
        def watch(summary: Summary) -> None:
            job.done, job.refused = summary.done, dict(summary.refused)
            job.examples = summary.examples
            self._go_on(job)

        def rest(seconds: float) -> None:
            end = time.monotonic() + seconds
            self._go_on(job)
            while (left := end - time.monotonic()) > 0:
                self._closing.wait(min(left, _TELL_SECONDS))
                self._go_on(job)

        try:
            if isinstance(target, RunQuery):
                bulk = Bulk(self._app.runs, lifecycle)
                summary = bulk.apply(
                    command,
                    target,
                    every_run=True,
                    rate_per_second=rate_per_second,
                    limit=job.expected,
                    watch=watch,
                    rest=rest,
                )
                job.done, job.refused = summary.done, dict(summary.refused)
            else:
                interval = 1 / rate_per_second if rate_per_second else 0.0
                _each(command, target, lifecycle, watch, lambda: rest(interval))
            job.state = "done"
        except _Stopped:
            job.state = "stopped"
        except Exception as error:
            logger.exception("Bulk %s by %s ended early", command, lifecycle.by)
            job.state, job.error = "failed", str(error)

    def _go_on(self, job: BulkJob) -> None:
        """Tell how far it has come, now and then.

        Raises:
            _Stopped: It is to end.
        """
        if self._closing.is_set():
            raise _Stopped
        if time.time() - job.told_at > _TELL_SECONDS:
            job.stopped_by = self._app.runs.kept_one(_STOP, job.id) or ""
            self._keep(job)
            if job.stopped_by:
                raise _Stopped

    def _keep(self, job: BulkJob) -> None:
        job.told_at = time.time()
        self._app.runs.keep(_KIND, job.id, json.dumps(asdict(job)))

    def _forget_old(self, now: float) -> None:
        for name, kept in self._app.runs.kept(_KIND).items():
            if json.loads(kept)["told_at"] < now - _KEPT_SECONDS:
                self._app.runs.keep(_KIND, name, None)
                self._app.runs.keep(_STOP, name, None)


def _each(
    command: Command,
    run_ids: Sequence[str],
    lifecycle: Lifecycle,
    watch: Callable[[Summary], None],
    rest: Callable[[], None],
) -> None:
    summary = Summary(command)
    do = getattr(lifecycle, command)
    for number, run_id in enumerate(run_ids):
        if number:
            rest()
        try:
            do(run_id)
        except Unavailable:
            raise
        except MilepostError as error:
            summary.refused[type(error).__name__] += 1
            summary.examples = [*summary.examples, str(error)][:10]
        else:
            summary.done += 1
        watch(summary)
