"""What a worker reads of a run's log: the checkpoint to work on, and whether the work was done already."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from milepost.checkpointing import (
    Checkpoint,
    CheckpointKey,
    CheckpointManager,
    CheckpointMetadata,
    NotFound,
    Record,
    Status,
)

from .errors import StateInvalid
from .head import Head
from .pipeline import Pipeline
from .runs import Claim
from .stage import state_invalid
from .versions import Place


class RunLog:
    """The logs of runs in one checkpoint store."""

    def __init__(self, checkpoints: CheckpointManager) -> None:
        self._log = checkpoints.store
        self._serializer = checkpoints.serializer

    def load(self, claim: Claim, place: Place) -> Checkpoint | CheckpointMetadata:
        """Return the checkpoint to work on, or the commit to go on from if more was done already.

        That is the commit of this very step; or the run's last one, if the run store went back behind what is
        kept of the log.

        Raises:
            Corrupt, NotFound: The checkpoint is damaged, or is not there.
            StateInvalid: Its state is not what the stage takes.
        """
        head, record, stage = claim.head, claim.record, place.stage
        if record is None:
            record = self._log.latest(head.run_id, lane=head.lane)
            if record is None or record.key != head.key:
                last = record
                if last is not None:
                    successor = self.adoptable(last, head, place) or self._committed(head, place)
                    if successor is not None:
                        return successor
                try:
                    record = self._log.get(head.key)
                except NotFound:
                    if last is None or (beyond := self._beyond(last, head, place)) is None:
                        raise
                    return beyond
        try:
            return self.read(record, place.pipeline, stage.input)
        except ValidationError as error:
            raise state_invalid(error, stage.name, head.run_id) from error

    def read(
        self, record: Record, pipeline: Pipeline, state_type: TypeAdapter[Any] | None
    ) -> Checkpoint:
        """Return a checkpoint of any version, its state as *state_type* of the version of *pipeline*.

        Raises:
            pydantic.ValidationError: It is not.
            StateInvalid: An upcaster gave nothing.
        """
        if pipeline.has_upcasters:
            written_by = self._serializer.metadata(record.key, record.header).pipeline_version
            upcasters = pipeline.upcasters_from(written_by)
            if upcasters:
                checkpoint = self._serializer.decode(record)
                state = checkpoint.state
                for upcast in upcasters:
                    state = upcast(state)
                    if state is None:
                        raise StateInvalid(
                            f"An upcaster of pipeline {pipeline.name} returned None; expected the state. "
                            "Is a return missing?",
                            stage=checkpoint.metadata.next_stage or "",
                            path="state",
                            run_id=record.key.run_id,
                        )
                if state_type is not None:
                    state = state_type.validate_json(to_json(state))
                return checkpoint.model_copy(update={"state": state})
        return self._serializer.decode(record, state_type=state_type)

    def adoptable(self, record: Record, head: Head, place: Place) -> CheckpointMetadata | None:
        """Return the record's metadata if it is the commit of the step due, and whole."""
        key = record.key
        if (key.timeline, key.sequence) != (head.timeline, head.sequence + 1):
            return None
        metadata = self._serializer.decode(record).metadata
        pipeline, stage = place.pipeline, place.stage.name
        # A worker with other code may have committed it, under the name the stage has there; and with another
        # stage to follow, which the log would then say for good.
        following = pipeline.following(stage)
        expected = following.name if following else None
        same = (
            pipeline.name_now(metadata.stage or "") == stage
            and (metadata.next_stage is None) == (expected is None)
            and pipeline.name_now(metadata.next_stage or "") == expected
        )
        return metadata if same and metadata.parent == head.checkpoint_id else None

    def _beyond(self, last: Record, head: Head, place: Place) -> CheckpointMetadata | None:
        """Return the run's last commit if it is later than the head, and the code here can go on from it."""
        if (last.key.timeline, last.key.sequence) <= (head.timeline, head.sequence):
            return None
        metadata = self._serializer.decode(last).metadata
        due = metadata.next_stage
        if due is None:
            return metadata if metadata.status in (Status.COMPLETED, Status.CANCELLED) else None
        is_known = metadata.status is Status.RUNNING and place.pipeline.due_now(due) is not None
        return metadata if is_known else None

    def _committed(self, head: Head, place: Place) -> CheckpointMetadata | None:
        """Find the commit of the step due behind later ones: the run store may have gone back."""
        key = CheckpointKey(head.run_id, head.sequence + 1, head.timeline, lane=head.lane)
        with suppress(NotFound):
            return self.adoptable(self._log.get(key), head, place)
        return None
