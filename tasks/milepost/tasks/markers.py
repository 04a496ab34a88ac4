"""Markers: what the run store alone knows of a run, told to a log that may outlive it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from milepost.checkpointing import (
    AlreadyExists,
    Checkpoint,
    CheckpointKey,
    CheckpointMetadata,
    Kind,
    Status,
)

from .head import AT_REST, Head, RunStatus

if TYPE_CHECKING:
    from .runtime import Runtime


class Markers:
    """Writes markers into the logs of runs; where the log is in the run store there is nobody to tell."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._runs = runtime.runs
        self._log = runtime.checkpoints.store
        self._serializer = runtime.checkpoints.serializer

    def tell(self, head: Head) -> None:
        """Tell a log that is elsewhere how a run stands that has failed or is paused, until it is right."""
        while True:
            key = self.write(head)
            if self._runs.mark(head):
                return
            now = self._runs.get(head.run_id)
            if now is None or now.status is RunStatus.DELETING:
                # What was written after its log was removed is nobody's.
                if key is not None:
                    self._log.delete(key)
                return
            if now.status is RunStatus.COMPLETED or now.status is RunStatus.CANCELLED:
                return
            head = now
            if head.status not in AT_REST:
                self.write(head)
                return

    def write(self, head: Head) -> CheckpointKey | None:
        """Write a marker for the head as it is; None if there is one of a later timeline."""
        at_rest = head.status in AT_REST
        metadata = CheckpointMetadata(
            run_id=head.run_id,
            sequence=0,
            timeline=head.timeline,
            kind=Kind.MARKER,
            parent=head.checkpoint_id,
            status=Status(head.status) if at_rest else Status.RUNNING,
            stage=head.stage or None,
            token=head.token,
            pipeline=head.pipeline,
            pipeline_version=head.version,
            error=head.error or None,
            facts=self._runtime.facts(head),
        )
        while True:
            last = self._log.latest(head.run_id, Kind.MARKER)
            if last is not None and last.key.timeline > head.timeline:
                return None
            number = last.key.sequence + 1 if last and last.key.timeline == head.timeline else 0
            metadata = metadata.model_copy(update={"sequence": number})
            with suppress(AlreadyExists):
                self._log.put(self._serializer.encode(Checkpoint(metadata=metadata)))
                return metadata.key

    def resumed(self, head: Head) -> None:
        """Tell the log that a run which stands still is about to go on.

        A marker may have told it that the run does, or the checkpoint itself, written while it stood still.
        """
        if not head.log_elsewhere or head.status not in AT_REST:
            return
        # First it is to be told anew, in case this comes to nothing; then it is told.
        if self._runs.unmark(head):
            self.write(replace(head, status=RunStatus.QUEUED))
