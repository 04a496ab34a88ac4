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

_KIND = "bulk-job"
_KEPT_SECONDS = 86400.0
_TELL_SECONDS = 0.5
_SILENT_SECONDS = 30.0
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
    """``running``, ``done`` or ``failed``."""
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


class BulkJobs:
    """Begins bulk commands in threads of this process; any process of the deployment tells how they stand.

    A process that dies leaves some runs done and others not; doing the command again does the rest.
    """

    def __init__(self, app: Milepost) -> None:
        self._app = app

    def begin(
        self,
        command: Command,
        target: RunQuery | Sequence[str],
        lifecycle: Lifecycle,
        *,
        what: str,
        expected: int,
        tenant: str = "",
        rate_per_second: float | None = None,
    ) -> str:
        """Begin a command and return the job's id.

        Args:
            target: The runs meant: those that a query finds, or of these ids.
            what: The same in words.
            expected: On how many it is done at most.
        """
        now = time.time()
        job = BulkJob(
            token_hex(8), command, lifecycle.by, what, expected, tenant, began_at=now, told_at=now
        )
        self._forget_old(now)
        self._keep(job)

        def watch(summary: Summary) -> None:
            job.done, job.refused = summary.done, dict(summary.refused)
            job.examples = summary.examples
            if time.time() - job.told_at > _TELL_SECONDS:
                self._keep(job)

        def work() -> None:
            try:
                if isinstance(target, RunQuery):
                    bulk = Bulk(self._app.runs, lifecycle)
                    watch(
                        bulk.apply(
                            command,
                            target,
                            every_run=True,
                            rate_per_second=rate_per_second,
                            limit=expected,
                            watch=watch,
                        )
                    )
                else:
                    _each(command, target, lifecycle, watch)
                job.state = "done"
            except Exception as error:
                logger.exception("Bulk %s by %s ended early", command, lifecycle.by)
                job.state, job.error = "failed", str(error)
            self._keep(job)

        threading.Thread(target=work, name=f"bulk-{job.id}", daemon=True).start()
        return job.id

    def find(self, job_id: str) -> BulkJob | None:
        """Return a job of the last day."""
        kept = self._app.runs.kept_one(_KIND, job_id)
        return None if kept is None else BulkJob(**json.loads(kept))

    def _keep(self, job: BulkJob) -> None:
        job.told_at = time.time()
        self._app.runs.keep(_KIND, job.id, json.dumps(asdict(job)))

    def _forget_old(self, now: float) -> None:
        for name, kept in self._app.runs.kept(_KIND).items():
            if json.loads(kept)["told_at"] < now - _KEPT_SECONDS:
                self._app.runs.keep(_KIND, name, None)


def _each(
    command: Command,
    run_ids: Sequence[str],
    lifecycle: Lifecycle,
    watch: Callable[[Summary], None],
) -> None:
    summary = Summary(command)
    do = getattr(lifecycle, command)
    for run_id in run_ids:
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
