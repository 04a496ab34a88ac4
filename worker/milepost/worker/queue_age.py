"""How long the oldest message of a queue waits, without looking at the backlog."""

from __future__ import annotations

from milepost.tasks import Head, Milepost, RunStatus

_SAMPLE = 200


class QueueAges:
    """Ages of queues at one moment.

    Where the broker is Redis, the messages that are taken next are looked at, and their runs asked when
    they were published. Elsewhere the queued runs that were started first are: in a backlog of more than a
    few hundred runs those of a short queue may not be among them, and its age is not known then.
    """

    def __init__(self, app: Milepost) -> None:
        self._runs = app.runs
        self._outbox = app.runtime.dispatch.outbox
        self._now = self._runs.now()
        self._sample: dict[str, int] | None = None

    def seconds(self, queue: str, depth: int | None) -> float | None:
        """Return the age; 0 if nothing waits, None if it is not known."""
        if depth == 0:
            return 0.0
        # A broker that does not tell the one is away, and does not tell the other.
        steps = None if depth is None else self._outbox.oldest(queue)
        if steps is None:
            published = self._sampled().get(queue)
        else:
            found = (self._published(queue, step.run_id, step.sequence) for step in steps)
            published = min((at for at in found if at), default=None)
        return None if published is None else max(0.0, (self._now - published) / 1000)

    def _published(self, queue: str, run_id: str, sequence: int) -> int:
        """Return when the message was published; 0 if the run has moved on, and it is of no use."""
        head = self._runs.get(run_id)
        due = head is not None and _waits(head) and (head.queue, head.sequence) == (queue, sequence)
        return head.published_at if head is not None and due else 0

    def _sampled(self) -> dict[str, int]:
        if self._sample is None:
            self._sample = {}
            for head in self._runs.oldest(RunStatus.QUEUED, _SAMPLE):
                if _waits(head):
                    at = min(head.published_at, self._sample.get(head.queue, head.published_at))
                    self._sample[head.queue] = at
        return self._sample


def _waits(head: Head) -> bool:
    return head.status is RunStatus.QUEUED and head.published_at > 0
