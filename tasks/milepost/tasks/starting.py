"""Making runs: started, started by the thousand, or forked from others."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from milepost.checkpointing import (
    AlreadyExists,
    Checkpoint,
    CheckpointMetadata,
    Corrupt,
    MilepostError,
    NotSerializable,
    Record,
    TooLarge,
)
from milepost.checkpointing.ids import new_checkpoint_id
from milepost.checkpointing.stencil import Stencil

from .errors import Conflict, InputMismatch
from .head import NOT_BEFORE, Head, RunStatus, Step
from .order import Order
from .runs.base import Birth
from .stage import Stage
from .trace import begin_trace, configured_tracer

if TYPE_CHECKING:
    from .pipeline import Pipeline
    from .runtime import Runtime

_BATCH = 500
"""How many runs a round trip makes: the server is fastest with some thirty of a shard at once."""
_WRITERS = 2


class Starter:
    """Makes heads and their first checkpoints; each start is durable when it returns."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._runs = runtime.runs
        self._log = runtime.checkpoints.store
        self._serializer = runtime.checkpoints.serializer

    def start(self, pipeline: Pipeline, order: Order) -> None:
        """Make a run, or find that it is there; see `Pipeline.start`."""
        first = pipeline.first
        metadata = CheckpointMetadata(run_id=order.run_id, sequence=0, next_stage=first.name)
        checkpoint = Checkpoint(metadata=metadata, state=order.state)
        self._make(self._head(pipeline, first, order), checkpoint, first, order)

    def fork(
        self, pipeline: Pipeline, stage: Stage, source: Checkpoint, order: Order, origin: str
    ) -> None:
        """Make a run that begins at *stage* with what another had there; *origin* names that."""
        names = [*pipeline.stages]
        head = replace(
            self._head(pipeline, stage, order), stages_done=names.index(stage.name), origin=origin
        )
        metadata = CheckpointMetadata(
            run_id=order.run_id,
            sequence=0,
            parent=source.metadata.checkpoint_id,
            stage=source.metadata.stage,
            next_stage=stage.name,
            note=f"forked from {origin}",
        )
        checkpoint = source.model_copy(
            update={"metadata": metadata, "state": order.state, "manifest": None}
        )
        self._make(head, checkpoint, stage, order)

    def start_many(
        self, pipeline: Pipeline, orders: Sequence[Order]
    ) -> Sequence[Head | MilepostError | None]:
        """Make many runs that differ in id and input alone.

        Returns for each None, the head that stood there, or why it was not made. Where log and queue are
        in the run store, thousands of runs are one round trip.
        """
        # Each run has a trace of its own, where runs are traced.
        if not orders or not self._runtime.log_in_runs or configured_tracer() is not None:
            return [self._tried(pipeline, order) for order in orders]
        first, pattern = pipeline.first, orders[0]
        head = self._head(pipeline, first, pattern)
        metadata = self._metadata(
            head, CheckpointMetadata(run_id=pattern.run_id, sequence=0, next_stage=first.name)
        )
        head = replace(head, at=metadata.key.path)
        stencil = Stencil(self._serializer, metadata, first.input)
        delay_ms = pattern.delay_ms
        task = f"{pipeline.name}.{first.name}"
        render = self._runtime.dispatch.rendering(task, head.queue, head.priority)
        outcomes: list[Head | MilepostError | None] = [None] * len(orders)
        pending: deque[tuple[Future[Any], list[tuple[int, Birth]]]] = deque()

        def settle() -> None:
            made, placed = pending.popleft()
            for (place, birth), outcome in zip(placed, made.result(), strict=True):
                if outcome is None and birth.push is None and not delay_ms:
                    self._runtime.dispatch.publish(replace(head, run_id=birth.run_id))
                if isinstance(outcome, Head):
                    own = replace(head, run_id=birth.run_id, digest=birth.digest)
                    outcome = _clash(outcome, own) or outcome
                outcomes[place] = outcome

        # While the server makes one batch, the next is there already, and this thread gets another ready.
        with ThreadPoolExecutor(_WRITERS, thread_name_prefix="milepost-start") as writers:
            for at in range(0, len(orders), _BATCH):
                placed = []
                for place, order in enumerate(orders[at : at + _BATCH], at):
                    checkpoint_id = new_checkpoint_id()
                    try:
                        record = stencil.record(
                            order.run_id, checkpoint_id, order.state, order.line
                        )
                        if record is None:
                            outcomes[place] = self._tried(pipeline, order)
                            continue
                    except (NotSerializable, TooLarge) as error:
                        outcomes[place] = error
                        continue
                    push = None if delay_ms else render(Step(order.run_id, 0, first.name))
                    birth = Birth(order.run_id, order.digest, checkpoint_id, record, push)
                    placed.append((place, birth))
                if len(pending) == _WRITERS:
                    settle()
                births = [birth for _, birth in placed]
                made = writers.submit(self._runs.create_many, head, births, delay_ms=delay_ms)
                pending.append((made, placed))
            while pending:
                settle()
        return outcomes

    def _tried(self, pipeline: Pipeline, order: Order) -> Head | MilepostError | None:
        try:
            stands = self._runs.get(order.run_id)
            self.start(pipeline, order)
        except (Conflict, AlreadyExists, NotSerializable, TooLarge) as error:
            return error
        return stands

    def _head(self, pipeline: Pipeline, stage: Stage, order: Order) -> Head:
        routed = self._runtime.routing.next(pipeline.name, stage, order.priority)
        return Head(
            run_id=order.run_id,
            pipeline=pipeline.name,
            version=pipeline.version,
            digest=order.digest,
            stages_total=len(pipeline.stages),
            fingerprint=pipeline.fingerprint,
            plan=json.dumps([*pipeline.stages]),
            trace=begin_trace(pipeline.name, order.run_id),
            budget=order.budget,
            log_elsewhere=int(not self._runtime.log_in_runs),
            tags=tuple(order.tags),
            tenant=order.tenant,
            run_priority=order.priority,
            stage=stage.name,
            queue=routed.queue,
            priority=routed.priority,
            time_limit_ms=routed.time_limit_ms,
            patience_ms=int(self._runtime.settings.patience_seconds * 1000),
        )

    def _metadata(
        self, head: Head, metadata: CheckpointMetadata, delay_ms: int = 0
    ) -> CheckpointMetadata:
        facts = self._runtime.facts(head)
        if facts is not None and delay_ms:
            facts[NOT_BEFORE] = str(int(self._runtime.process.now() * 1000) + delay_ms)
        about = {
            "pipeline": head.pipeline,
            "pipeline_version": head.version,
            "tags": head.tags,
            "facts": facts,
        }
        return metadata.model_copy(update=about)

    def _with_record(
        self, head: Head, checkpoint: Checkpoint, stage: Stage, order: Order
    ) -> tuple[Head, Record]:
        metadata = self._metadata(head, checkpoint.metadata, order.delay_ms)
        record = self._serializer.encode(
            checkpoint.model_copy(update={"metadata": metadata}), state_type=stage.input
        )
        return replace(head, checkpoint_id=metadata.checkpoint_id, at=record.key.path), record

    def _make(self, head: Head, checkpoint: Checkpoint, stage: Stage, order: Order) -> None:
        """Write a run's first checkpoint, its head and its message.

        Where the log is not in the run store: body, then head, then message. Dying between them leaves
        a body that the same start adopts, or a head that the reconciler publishes.
        """
        head, record = self._with_record(head, checkpoint, stage, order)
        in_runs, stands = self._runtime.log_in_runs, None
        if in_runs and record.pieces and (stands := self._runs.get(head.run_id)) is None:
            self._runtime.checkpoints.put_pieces(record)
        if not in_runs and (stands := self._runs.get(head.run_id)) is None:
            record = self._put_input(record, stage.input)
            metadata = self._serializer.metadata(record.key, record.header)
            head = replace(
                head,
                checkpoint_id=metadata.checkpoint_id,
                timeline=record.key.timeline,
                at=record.key.path,
            )
        push = None if order.delay_ms else self._runtime.dispatch.render_due(head)
        if stands is None:
            stands = self._runs.create(
                head,
                record=record if in_runs else None,
                push=push,
                delay_ms=order.delay_ms,
            )
            if stands is not None and stands.timeline < record.key.timeline:
                # Another start was faster, and what it began is not on this timeline.
                self._log.delete(record.key)
        if stands is None:
            if push is None and not order.delay_ms:
                self._runtime.dispatch.publish(head)
        elif clash := _clash(stands, head):
            raise clash

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


def _clash(stands: Head, wanted: Head) -> Conflict | None:
    """Return why a run that stands is not the one that was to be started."""
    if stands.status is RunStatus.DELETING and stands.tenant == wanted.tenant:
        return Conflict(
            f"Run {stands.run_id} is being deleted. Start it again in a moment.",
            run_id=stands.run_id,
            status=stands.status,
        )
    same = stands.pipeline == wanted.pipeline and stands.digest in (wanted.digest, "")
    if same and stands.tenant == wanted.tenant:
        return None
    if stands.tenant != wanted.tenant:
        return InputMismatch(
            f"The run id {stands.run_id} is taken. Take another, or none.", run_id=stands.run_id
        )
    return InputMismatch(
        f"Run {stands.run_id} exists already, of pipeline {stands.pipeline} with another input. "
        "Take another run id, or none.",
        run_id=stands.run_id,
        status=stands.status,
    )
