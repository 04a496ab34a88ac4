"""Commands on runs: start, retry, pause, resume, cancel, delete."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from milepost.checkpointing import (
    AlreadyExists,
    Checkpoint,
    CheckpointMetadata,
    Corrupt,
    Misconfigured,
    NotFound,
    Record,
    Status,
)
from milepost.checkpointing.ids import new_checkpoint_id, valid_name

from .budget import valid_amounts
from .errors import Conflict, InputMismatch, UnknownRun
from .head import NOT_BEFORE, Head, RunStatus
from .run_log import RunLog
from .spent import added, read_amounts, write_amounts
from .trace import begin_trace

if TYPE_CHECKING:
    from .pipeline import Pipeline
    from .runtime import Runtime

logger = logging.getLogger("milepost")


class Lifecycle:
    """What people and programs can do to a run; each command is durable when it returns."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._runs = runtime.runs
        self._log = runtime.checkpoints.store
        self._serializer = runtime.checkpoints.serializer
        self._run_log = RunLog(runtime.checkpoints)

    def start(
        self,
        pipeline: Pipeline,
        run_id: str,
        state: Any,
        digest: str,
        tags: Sequence[str],
        delay_seconds: float,
        budget: str = "",
    ) -> None:
        """Make a run, or find that it is there; see `Pipeline.start`.

        Where the log is not in the run store: body, then head, then message. Dying between them leaves
        a body that the same start adopts, or a head that the reconciler publishes.
        """
        first = pipeline.first
        routed = self._runtime.routing.next(pipeline.name, first)
        head = Head(
            run_id=run_id,
            pipeline=pipeline.name,
            version=pipeline.version,
            digest=digest,
            stages_total=len(pipeline.stages),
            fingerprint=pipeline.fingerprint,
            plan=json.dumps([*pipeline.stages]),
            trace=begin_trace(pipeline.name, run_id),
            budget=budget,
            log_elsewhere=int(not self._runtime.log_in_runs),
            tags=tuple(tags),
            stage=first.name,
            queue=routed.queue,
            priority=routed.priority,
            time_limit_ms=routed.time_limit_ms,
            patience_ms=int(self._runtime.settings.patience_seconds * 1000),
        )
        facts = self._runtime.facts(head)
        if facts is not None and delay_seconds:
            facts[NOT_BEFORE] = str(int((time.time() + delay_seconds) * 1000))
        record = self._input(pipeline, run_id, state, tags, facts)
        head = replace(
            head,
            checkpoint_id=self._serializer.metadata(record.key, record.header).checkpoint_id,
            at=record.key.path,
        )
        stands = None
        if (
            self._runtime.log_in_runs
            and record.pieces
            and (stands := self._runs.get(run_id)) is None
        ):
            self._runtime.checkpoints.put_pieces(record)
        if not self._runtime.log_in_runs and (stands := self._runs.get(run_id)) is None:
            record = self._put_input(record, first.input)
            metadata = self._serializer.metadata(record.key, record.header)
            head = replace(
                head,
                checkpoint_id=metadata.checkpoint_id,
                timeline=record.key.timeline,
                at=record.key.path,
            )
        push = None if delay_seconds else self._runtime.dispatch.render_due(head)
        if stands is None:
            stands = self._runs.create(
                head,
                record=record if self._runtime.log_in_runs else None,
                push=push,
                delay_ms=int(delay_seconds * 1000),
            )
            if stands is not None and stands.timeline < record.key.timeline:
                # Another start was faster, and what it began is not on this timeline.
                self._log.delete(record.key)
        if stands is None:
            if push is None and not delay_seconds:
                self._runtime.dispatch.publish(head)
        elif stands.pipeline != pipeline.name or stands.digest not in (digest, ""):
            raise InputMismatch(
                f"Run {run_id} exists already, of pipeline {stands.pipeline} with another input. "
                "Take another run id, or none.",
                run_id=run_id,
                status=stands.status,
            )

    def retry(self, run_id: str) -> None:
        """Let a failed or scheduled run move now."""
        self._move(run_id, (RunStatus.FAILED, RunStatus.SCHEDULED), "retried")

    def resume(self, run_id: str) -> None:
        """Let a paused run move, or take back the pause of one that still runs its stage."""
        self._move(run_id, (RunStatus.PAUSED, RunStatus.RUNNING), "resumed")

    def pause(self, run_id: str) -> None:
        """Stop a run before its next stage."""
        status = self._runs.pause(valid_name(run_id))
        if status is None:
            raise self._unknown(run_id)
        if status.ended or status is RunStatus.CANCELLING:
            raise Conflict(
                f"Run {run_id} is {status}: it cannot be paused.", run_id=run_id, status=status
            )

    def cancel(self, run_id: str) -> None:
        """End a run with a checkpoint that says so; cancelling twice is harmless."""
        status = self._runs.intend(valid_name(run_id), new_checkpoint_id())
        if status is None:
            raise self._unknown(run_id)
        if status is RunStatus.COMPLETED:
            raise Conflict(
                f"Run {run_id} has completed: it cannot be cancelled.", run_id=run_id, status=status
            )
        if status is not RunStatus.CANCELLED:
            self.settle(self.head(run_id))

    def settle(self, head: Head) -> None:
        """Finish a cancelling that was begun, by whomever."""
        if head.status is not RunStatus.CANCELLING:
            return
        try:
            last = self._runtime.checkpoints.get(head.key)
        except (Corrupt, NotFound) as error:
            logger.error("Run %s is cancelled without its state: %s", head.run_id, error)
            last = Checkpoint(metadata=CheckpointMetadata(run_id=head.run_id, sequence=0))
        metadata = CheckpointMetadata(
            run_id=head.run_id,
            sequence=head.sequence + 1,
            timeline=head.timeline,
            lane=head.lane,
            checkpoint_id=head.intent,
            parent=head.checkpoint_id,
            status=Status.CANCELLED,
            stage=last.metadata.stage,
            token=head.token,
            pipeline=head.pipeline,
            pipeline_version=head.version,
            tags=head.tags,
            facts=self._runtime.facts(head),
        )
        record = self._serializer.encode(
            last.model_copy(update={"metadata": metadata}), base=last.manifest
        )
        self._runtime.checkpoints.put_pieces(record)
        if not self._runtime.log_in_runs:
            # If it stands, another process wrote the same checkpoint: only its time differs.
            with suppress(AlreadyExists):
                self._log.put(record)
        self._runs.settle(
            head,
            path=record.key.path,
            sequence=metadata.sequence,
            record=record if self._runtime.log_in_runs else None,
        )
        self._runtime.forget_blobs_later(head.run_id)

    def delete(self, run_id: str) -> None:
        """Forget a run that has ended or is paused, with its checkpoints."""
        head = self._runs.get(valid_name(run_id))
        if head is None:
            # What a stage wrote while its run was being deleted is nobody's.
            if not self._runtime.checkpoints.delete_run(run_id):
                raise self._unknown(run_id)
            return
        deletable = head.status.ended or head.status is RunStatus.PAUSED
        if deletable and not self._runtime.log_in_runs:
            # First, so that a new run of this id, which may come when the head is gone, keeps its log; and
            # gone as a whole, so that dying in here leaves nothing that looks like an unfinished run.
            self._log.expire_run(run_id, datetime.now(UTC))
            self._runtime.checkpoints.delete_run(run_id)
        status = self._runs.delete(run_id)
        if status is not None:
            raise Conflict(
                f"Run {run_id} is {status}: cancel or pause it before deleting it.",
                run_id=run_id,
                status=status,
            )
        self._runtime.checkpoints.delete_blobs(run_id)

    def top_up(self, run_id: str, amounts: Mapping[str, float]) -> None:
        """Raise limits of a run's budget by *amounts*."""
        more = valid_amounts(amounts, "budget")
        if not more:
            raise Misconfigured("A budget is topped up by amounts: top_up(usd=5).")
        while True:
            head = self.head(run_id)
            limits = read_amounts(head.budget)
            unknown = ", ".join(more.keys() - limits.keys())
            if unknown:
                raise Conflict(
                    f"The budget of run {run_id} has no limit for {unknown}; it has "
                    f"{', '.join(limits) or 'none at all'}.",
                    run_id=run_id,
                    status=head.status,
                )
            if self._runs.set_budget(head, write_amounts(added(limits, more))):
                break
        if head.log_elsewhere:
            self._runtime.markers.write(self.head(run_id))

    def state(self, head: Head) -> Any:
        """Return the current state as the type of the stage that gave it, where that is known here.

        Before the first commit it is the input, as the type of the first stage's argument.
        """
        checkpoint = self._runtime.checkpoints.get(head.key)
        versions = self._runtime.versions.get(head.pipeline)
        if versions is None:
            return checkpoint.state
        pipeline = versions.of(head.version)
        giver = checkpoint.metadata.stage
        if checkpoint.state is None and checkpoint.metadata.status is Status.CANCELLED:
            # It was cancelled without its state, which could not be read.
            return None
        if giver is None:
            state_type = pipeline.first.input
        else:
            name = pipeline.name_now(giver)
            state_type = pipeline.stages[name].output if name else None
        if state_type is None:
            return checkpoint.state
        return self._run_log.read(self._log.get(head.key), pipeline, state_type).state

    def head(self, run_id: str) -> Head:
        """Return the head of a run.

        Raises:
            UnknownRun: There is none.
        """
        head = self._runs.get(valid_name(run_id))
        if head is None:
            raise self._unknown(run_id)
        return head

    def _move(self, run_id: str, allowed: tuple[RunStatus, ...], done: str) -> None:
        head = self.head(run_id)
        idle = head.status is RunStatus.RUNNING and not head.pause
        if head.status in allowed:
            self._runtime.markers.resumed(head)
        if head.status not in allowed or idle or not self._runs.resume(head):
            status = self.head(run_id).status
            raise Conflict(
                f"Run {run_id} is {status}; only a run that is {' or '.join(allowed)} can be {done}.",
                run_id=run_id,
                status=status,
            )
        head = self.head(run_id)
        if head.status is RunStatus.QUEUED:
            self._runtime.dispatch.publish(head)

    def _input(
        self,
        pipeline: Pipeline,
        run_id: str,
        state: Any,
        tags: Sequence[str],
        facts: dict[str, str] | None,
    ) -> Record:
        first = pipeline.first
        metadata = CheckpointMetadata(
            run_id=run_id,
            sequence=0,
            next_stage=first.name,
            pipeline=pipeline.name,
            pipeline_version=pipeline.version,
            tags=tuple(tags),
            facts=facts,
        )
        return self._serializer.encode(
            Checkpoint(metadata=metadata, state=state), state_type=first.input
        )

    def _put_input(self, record: Record, adapter: TypeAdapter[Any] | None) -> Record:
        """Write checkpoint 0, or adopt the one that a start which died has left; return what stands.

        A log that has more, or another input, is that of an earlier life of the run id: its head was
        deleted or forgotten. The new life begins on a timeline of its own, above all that is there, so
        that nothing of the old one is taken for its own.
        """
        mine = self._serializer.decode(record, state_type=adapter)
        while True:
            try:
                self._runtime.checkpoints.put(record)
            except AlreadyExists:
                last = self._log.latest(record.key.run_id)
                if last is None:
                    continue
                if last.key.sequence == 0 and self._is_input(last, mine, adapter):
                    return last
                metadata = mine.metadata.model_copy(update={"timeline": last.key.timeline + 1})
                mine = mine.model_copy(update={"metadata": metadata})
                record = self._serializer.encode(mine, state_type=adapter)
            else:
                return record

    def _is_input(self, record: Record, mine: Checkpoint, adapter: TypeAdapter[Any] | None) -> bool:
        """Whether *record* is the same pipeline's same input."""
        try:
            stands = self._serializer.decode(record, state_type=adapter)
        except (Corrupt, ValidationError):
            return False
        return stands.metadata.pipeline == mine.metadata.pipeline and stands.state == mine.state

    def _unknown(self, run_id: str) -> UnknownRun:
        return UnknownRun(f"No run {run_id} in {self._runs.location}.", run_id=run_id)
