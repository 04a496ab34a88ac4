"""The fleet: whether there is a worker for every queue and every run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from milepost.tasks import Head, RunStatus
from milepost.tasks.versions import order

from ..reports import WorkerReport
from .base import Check, Finding
from .site import Site

_SAMPLE = 500


class Workers(Check):
    """Who is up, who has fallen silent, and which queues nobody takes from."""

    name = "workers"

    def findings(self, site: Site) -> Iterator[Finding]:
        where = site.runs.location
        for worker in site.workers:
            if worker.state == "silent":
                ago = (site.runs.now() - worker.seen_at) / 1000
                yield self.warn(
                    f"Worker {worker.name} (pid {worker.pid} on {worker.host}) was last heard of {ago:.0f} s "
                    "ago.",
                    "It was killed, or cannot reach the run store; its stages go on elsewhere.",
                    where,
                )
        if not site.up:
            yield self.warn("No worker is up.", "Start one: milepost worker -A MODULE.", where)
            return
        unserved = [queue for queue in site.queues if not queue.workers and not queue.paused]
        for queue in unserved:
            waiting = f", where {queue.depth} messages wait" if queue.depth else ""
            yield self.fail(
                f"No worker takes from queue {queue.name}{waiting}.",
                f"Start one with -Q {queue.name}, or route its stages elsewhere.",
                where,
            )
        if not unserved:
            yield self.ok(f"{len(site.up)} up, and one for every queue.", where)


class RunsServed(Check):
    """For the runs that have waited longest: some worker has their code and takes from their queue."""

    name = "runs served"

    def findings(self, site: Site) -> Iterator[Finding]:
        waiting = [
            head
            for status in (RunStatus.QUEUED, RunStatus.SCHEDULED)
            for head in site.runs.oldest(status, _SAMPLE)
        ]
        paused = site.fleet.paused_queues()
        reasons: defaultdict[str, list[str]] = defaultdict(list)
        for head in waiting:
            if site.up and (why := self._unserved(head, site, paused)):
                reasons[why].append(head.run_id)
        for why, run_ids in reasons.items():
            many = "1 waiting run" if len(run_ids) == 1 else f"{len(run_ids)} waiting runs"
            yield self.fail(
                f"{many}, such as {run_ids[0]}: {why}.",
                "Start a worker that has the code and takes from the queue, or cancel them.",
                site.runs.location,
            )
        if not reasons:
            yield self.ok(f"Of {len(waiting)} that wait, none waits in vain.", site.runs.location)

    def _unserved(self, head: Head, site: Site, paused: dict[str, str]) -> str:
        able = [worker for worker in site.up if _knows(worker, head)]
        if not able:
            return f"no worker has the code of pipeline {head.pipeline} {head.version} for stage {head.stage}"
        if head.queue in paused or any(head.queue in worker.queues for worker in able):
            return ""
        return (
            f"no worker that has the code of pipeline {head.pipeline} takes from queue {head.queue}"
        )


class PausedQueues(Check):
    """What waits because somebody said so."""

    name = "paused queues"

    def findings(self, site: Site) -> Iterator[Finding]:
        paused = [queue for queue in site.queues if queue.paused]
        for queue in paused:
            waiting = "an unknown number of" if queue.depth is None else str(queue.depth)
            says = f"Queue {queue.name} is paused by {queue.paused_by or 'nobody knows whom'}"
            if queue.depth == 0:
                yield self.ok(f"{says}; nothing waits there.", queue.name)
            else:
                yield self.warn(
                    f"{says}; {waiting} messages wait there.",
                    f"When it may go on: milepost queues resume {queue.name}.",
                    queue.name,
                )
        if not paused:
            yield self.ok("None.")


def _knows(worker: WorkerReport, head: Head) -> bool:
    """Whether a worker goes on with a run: with its version if it has that, else with its highest."""
    highest = worker.versions.get(head.pipeline)
    if highest is None:
        return False
    stages = worker.known.get(f"{head.pipeline} {head.version}")
    if stages is None and order(head.version) < order(highest):
        stages = worker.known.get(f"{head.pipeline} {highest}")
    return head.stage in (stages or ())
