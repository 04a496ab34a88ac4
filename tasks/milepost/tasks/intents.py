"""Ending a run early, sending it elsewhere or removing it: cancel, rewind, skip, edit and delete.

First the head says what is intended: from then on nobody can claim the run or commit to it. Then a checkpoint
is written that continues from an earlier one, on a timeline of its own; then the head goes on from there.
Nothing is rewritten, so what was abandoned can never become the latest again. Whoever dies on the way leaves
an intent that the reconciler ends: as it was meant if the checkpoint stands, else as if nobody had
asked. A deletion writes nothing, and is always ended as it was meant.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from milepost.checkpointing import (
    AlreadyExists,
    Checkpoint,
    CheckpointError,
    CheckpointKey,
    CheckpointMetadata,
    NotFound,
    Record,
    Refused,
    Status,
    Unavailable,
)
from milepost.checkpointing.ids import new_checkpoint_id

from .errors import Conflict, UnknownPipeline
from .head import UNDER_WAY, Head, RunStatus
from .pipeline import Pipeline
from .runs.base import Intent, Landing, Next
from .stage import Stage
from .transitions import ALLOWED, Command

if TYPE_CHECKING:
    from .runtime import Runtime

logger = logging.getLogger("milepost")
_KNOWN = frozenset(status.value for status in Status)
_KEEPS = frozenset({RunStatus.PAUSED, RunStatus.FAILED, RunStatus.SCHEDULED})


class Intents:
    """Begins and ends what takes a run off its way."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._runs = runtime.runs
        self._log = runtime.checkpoints.store
        self._serializer = runtime.checkpoints.serializer

    def cancel(self, head: Head, seen: Head | None = None) -> RunStatus:
        """End a run; return the status it was in before.

        Raises:
            Conflict: It has completed, or is being redirected.
            MovedOn: It stands otherwise than *seen*.
        """
        allowed = ALLOWED[Command.CANCEL] - {RunStatus.CANCELLED}
        intent = Intent(new_checkpoint_id(), RunStatus.CANCELLING, allowed, seen=seen)
        begun, before = self._runs.intend(head.run_id, intent)
        if begun or before is RunStatus.CANCELLING:
            self.complete(self._runs.get(head.run_id))
        elif before is not RunStatus.CANCELLED:
            raise refusal(Command.CANCEL, head.run_id, before)
        return before or RunStatus.CANCELLED

    def redirect(
        self,
        command: Command,
        head: Head,
        pipeline: Pipeline,
        following: Stage | None,
        source: Checkpoint,
        note: str,
        state_type: TypeAdapter[Any] | None = None,
        seen: Head | None = None,
    ) -> None:
        """Let a run go on at *following* with the state of *source*, or end it well.

        A paused run stays paused, and one whose state is only edited stays failed or scheduled, too.

        Args:
            state_type: Of the state, unless it is JSON as the log has it.

        Raises:
            Conflict: Its status does not allow it, or it has moved on since *head* was read.
            MovedOn: It stands otherwise than *seen*.
        """
        intent = Intent(
            new_checkpoint_id(),
            RunStatus.REDIRECTING,
            ALLOWED[command],
            (head.timeline, head.sequence),
            seen,
        )
        # What cannot be written is refused here, before the run is taken off its way.
        due = following.name if following else ""
        tried = self._metadata(head, pipeline.version, due, source, RunStatus.QUEUED, note)
        self._encoded(source, tried, state_type)
        begun, before = self._runs.intend(head.run_id, intent)
        if not begun:
            raise refusal(command, head.run_id, before)
        intended = self._runs.get(head.run_id)
        if intended is None or intended.intent != intent.checkpoint_id:
            raise refusal(command, head.run_id, intended.status if intended else None)
        if before in (RunStatus.COMPLETED, RunStatus.CANCELLED):
            self._runtime.keep_blobs(head.run_id)
        kept = _KEEPS if command is Command.EDIT else {RunStatus.PAUSED}
        status = before if before is not None and before in kept else RunStatus.QUEUED
        metadata = self._metadata(intended, pipeline.version, due, source, status, note)
        record = self._encoded(source, metadata, state_type)
        if not self._land(intended, record):
            now = self._runs.get(head.run_id)
            raise refusal(command, head.run_id, now.status if now else None)

    def delete(self, head: Head, seen: Head | None = None) -> None:
        """Remove a run, its log and its blobs; nobody can claim or resume it from the beginning on.

        Raises:
            Conflict: It has not ended and is not paused.
        """
        intent = Intent(new_checkpoint_id(), RunStatus.DELETING, ALLOWED[Command.DELETE], seen=seen)
        begun, before = self._runs.intend(head.run_id, intent)
        if begun or before is RunStatus.DELETING:
            self.complete(self._runs.get(head.run_id))
        elif before is not None:
            raise refusal(Command.DELETE, head.run_id, before)

    def complete(self, head: Head | None) -> None:
        """Bring to its end what was begun, by whomever."""
        if head is None or head.status not in UNDER_WAY:
            return
        if head.status is RunStatus.DELETING:
            self._remove(head)
            return
        if head.status is RunStatus.CANCELLING:
            last = self._last(head)
            cancelled = self._metadata(head, head.version, "", last, RunStatus.CANCELLED)
            self._land(head, self._encoded(last, cancelled))
            self._runtime.forget_blobs_later(head.run_id)
            return
        before = RunStatus(head.status_before)
        status = before if before in _KEEPS or before.ended else RunStatus.QUEUED
        key = CheckpointKey(head.run_id, head.sequence + 1, head.timeline, lane=head.lane)
        back = ""
        try:
            try:
                record = self._log.get(key)
                self._serializer.metadata(key, record.header)
            except NotFound:
                # Back to where it was, which takes no code: what is here may not be what the run needs.
                last = self._runtime.checkpoints.get(head.key)
                note = "as it was: what was begun was not finished"
                taken = replace(head, intent=new_checkpoint_id())
                metadata = self._metadata(taken, head.version, head.stage, last, status, note)
                record, back = self._encoded(last, metadata), taken.intent
        except (Unavailable, Refused):
            raise
        except CheckpointError as error:
            # What is wrong with it is for the stage due to say, which needs it; nobody waits for ever here.
            logger.error("Run %s goes back to where it was as it stands: %s", head.run_id, error)
            self._go_back(head, status)
        else:
            self._land(head, record, back=back)
        if before.ended:
            self._runtime.forget_blobs_later(head.run_id)

    def _remove(self, head: Head) -> None:
        """Remove all of a run, the head last: as long as it stands no new run of its id can write a log."""
        stands, run_id = self._runs.get(head.run_id), head.run_id
        if stands is None or stands.intent != head.intent:
            return
        if self._runtime.log_in_runs:
            self._runtime.checkpoints.delete_blobs(run_id)
        else:
            # Gone as a whole first: should the run store be lost now, nothing looks like an unfinished run.
            now = datetime.fromtimestamp(self._runtime.process.now(), UTC)
            self._log.expire_run(run_id, now)
            self._runtime.checkpoints.delete_run(run_id)
        self._runs.delete(head)

    def _go_back(self, head: Head, status: RunStatus) -> None:
        """Take the intent back without a checkpoint: the run goes on from the one that it had.

        A late operator's, which nothing keeps from the log then, is on a timeline that only the stage due
        writes to; that goes out of its way.
        """
        landing = Landing(
            checkpoint_id=head.checkpoint_id,
            path=head.at,
            sequence=head.sequence,
            status=status,
            following=_due(head),
        )
        if self._runs.settle(head, landing):
            self._publish(head.run_id)

    def _last(self, head: Head) -> Checkpoint:
        try:
            return self._runtime.checkpoints.get(head.key)
        except (Unavailable, Refused):
            raise
        except CheckpointError as error:
            logger.error("Run %s is cancelled without its state: %s", head.run_id, error)
            metadata = CheckpointMetadata(
                run_id=head.run_id, sequence=0, checkpoint_id=head.checkpoint_id
            )
            return Checkpoint(metadata=metadata)

    def _code(self, head: Head, metadata: CheckpointMetadata) -> Pipeline:
        """Return the code by which a run goes on from a checkpoint.

        Raises:
            UnknownPipeline, VersionAhead: It is not here, but with whoever wrote that.
        """
        versions = self._runtime.versions.get(head.pipeline)
        if versions is None:
            raise UnknownPipeline(
                f"Run {head.run_id} is of pipeline {head.pipeline}, which is not defined here.",
                run_id=head.run_id,
            )
        return versions.going_on(head.run_id, metadata.pipeline_version or head.version)

    def _metadata(
        self,
        head: Head,
        version: str,
        following: str,
        source: Checkpoint,
        status: RunStatus,
        note: str | None = None,
    ) -> CheckpointMetadata:
        """Describe the checkpoint that ends what *head* intends."""
        if not following and not status.ended:
            status = RunStatus.COMPLETED
        return CheckpointMetadata(
            run_id=head.run_id,
            sequence=head.sequence + 1,
            timeline=head.timeline,
            lane=head.lane,
            checkpoint_id=head.intent,
            parent=source.metadata.checkpoint_id,
            status=Status(status) if status in _KNOWN else Status.RUNNING,
            stage=source.metadata.stage,
            next_stage=following or None,
            token=head.token,
            pipeline=head.pipeline,
            pipeline_version=version,
            tags=head.tags,
            facts=self._runtime.facts(head),
            note=note,
        )

    def _encoded(
        self,
        source: Checkpoint,
        metadata: CheckpointMetadata,
        state_type: TypeAdapter[Any] | None = None,
    ) -> Record:
        copy = source.model_copy(update={"metadata": metadata})
        return self._serializer.encode(copy, state_type=state_type, base=source.manifest)

    def _land(self, head: Head, record: Record, back: str = "") -> bool:
        """Write the checkpoint, unless one stands there, and let the run go on from what stands.

        The checkpoint whose id is *back* only takes the intent back: the run goes on as *head* has it.
        """
        in_runs = self._runtime.log_in_runs
        self._runtime.checkpoints.put_pieces(record)
        if not in_runs:
            try:
                self._log.put(record)
            except AlreadyExists:
                self._runtime.checkpoints.drop_pieces(record)
                record = self._log.get(record.key)
        metadata = self._serializer.metadata(record.key, record.header)
        following: Next | None = None
        changes: dict[str, str | int] = {}
        status = (
            RunStatus.QUEUED if metadata.status is Status.RUNNING else RunStatus(metadata.status)
        )
        if metadata.checkpoint_id == back:
            following = _due(head)
        elif metadata.next_stage is not None:
            pipeline = self._code(head, metadata)
            wanted, names = metadata.next_stage, [*pipeline.stages]
            stage = pipeline.stages.get(pipeline.due_now(wanted) or "", pipeline.first)
            routed = self._runtime.routing.next(pipeline.name, stage, head.run_priority)
            following = replace(routed, stage=wanted)
            if wanted in names:
                changes = {
                    "version": pipeline.version,
                    "fingerprint": pipeline.fingerprint,
                    "plan": json.dumps(names),
                    "stages_done": names.index(wanted),
                    "stages_total": len(names),
                }
            # Else a deploy came in between; workers know what becomes of a stage that is renamed or gone.
        elif status is RunStatus.COMPLETED:
            changes = {"stages_done": head.stages_total}
        same = metadata.parent == head.checkpoint_id and metadata.next_stage == head.stage
        if status is RunStatus.QUEUED and same and head.status_before == RunStatus.SCHEDULED:
            status = RunStatus.SCHEDULED
        landing = Landing(
            checkpoint_id=metadata.checkpoint_id,
            path=record.key.path,
            sequence=metadata.sequence,
            status=status,
            following=following,
            record=record if in_runs else None,
            changes=changes,
        )
        if not self._runs.settle(head, landing):
            if in_runs:
                self._runtime.checkpoints.drop_pieces(record)
            return False
        if status is RunStatus.COMPLETED:
            self._runtime.forget_blobs_later(head.run_id)
            versions = self._runtime.versions.get(head.pipeline)
            if versions is not None:
                version = metadata.pipeline_version or head.version
                self._runtime.thin(versions.of(version), metadata)
        self._publish(head.run_id)
        # Another's checkpoint may stand there, that of a reconciler which took the intent back.
        return metadata.token == head.token and metadata.checkpoint_id == head.intent

    def _publish(self, run_id: str) -> None:
        now = self._runs.get(run_id)
        if now is not None and now.status is RunStatus.QUEUED:
            self._runtime.dispatch.publish(now)


def _due(head: Head) -> Next | None:
    """Return the stage due as it stands."""
    if not head.stage:
        return None
    return Next(head.stage, head.queue, head.priority, head.time_limit_ms)


def refusal(command: Command, run_id: str, status: RunStatus | None) -> Conflict:
    """Return the error of a command that a run's status does not allow."""
    *others, last = sorted(ALLOWED[command])
    allowed = f"{', '.join(others)} or {last}"
    moved = " It has moved on meanwhile." if status in ALLOWED[command] else ""
    return Conflict(
        f"Run {run_id} is {status or 'gone'}; only a run that is {allowed} can be {command.done}.{moved}",
        run_id=run_id,
        status=status,
    )
