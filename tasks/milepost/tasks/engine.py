"""The engine: executes one step."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from billiard.common import terminate_handler_fired
from pydantic import ValidationError

from milepost.checkpointing import (
    AlreadyExists,
    Checkpoint,
    CheckpointKey,
    CheckpointMetadata,
    NotFound,
    Record,
    Refused,
    Status,
    Unavailable,
)

from .context import Context
from .errors import ClaimLost, HandBack, StageTimeout, StoreFailed, TaskError
from .failure import describe
from .faultpoints import Point
from .head import Head, Step
from .progress import Progress
from .retry import Retry
from .runs import Advance, Bid, Claim, Commit, Refusal
from .scratch import Scratch
from .stage import Stage, state_invalid

if TYPE_CHECKING:
    from .pipeline import Pipeline
    from .runtime import Runtime

logger = logging.getLogger("milepost")
_AFTER_REFUSAL = Retry(attempts=10, backoff="5s..5m")
"""When a stage is tried again whose result a store refused: for half an hour, whatever the stage says."""
P = ParamSpec("P")
T = TypeVar("T")


class StageFailed(Exception):
    """A try failed and the store knows; `delay_seconds` until the next one, None: dead letter."""

    def __init__(self, error: BaseException, delay_seconds: float | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.delay_seconds = delay_seconds


class _StageRaised(Exception):
    """Something that a stage raised, whatever it is, told apart from what the engine's own stores raise."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class Engine:
    """Claims a step, runs its stage, commits, and enqueues the next.

    At every point at which the process may die, the run is left so that another process comes to the
    same end; `faultpoints.POINTS` names them, and the tests kill it at each.

    Args:
        timeout_error: What the pool raises inside a stage that has run out of time.
    """

    def __init__(self, runtime: Runtime, timeout_error: type[BaseException]) -> None:
        self._runtime = runtime
        self._runs = runtime.runs
        self._log = runtime.checkpoints.store
        self._serializer = runtime.checkpoints.serializer
        self._timeout_error = timeout_error

    def execute(
        self,
        pipeline: Pipeline,
        stage: Stage,
        step: Step,
        announce: Callable[[int, int | None], None] = lambda done, total: None,
    ) -> str:
        """Run *step* if it is due, and say what became of it.

        Args:
            announce: Told how far the stage has come each time that is saved.

        Raises:
            StageFailed: The stage raised, or a store refused; the failure is recorded.
            Unavailable: A store does not answer; the reconciler brings the step back.
        """
        self._reach("received", step)
        owner = self._runtime.owner
        bid = owner.bid()
        try:
            claim = self._runs.claim(step, bid)
            if isinstance(claim, Refusal):
                return self._refused(claim, step)
            owner.confirm(bid)
            self._reach("claimed", step)
            guard = partial(self._guard, bid)
            scratch = Scratch(self._runtime, claim, guard, self._patiently, announce)
            return self._run(pipeline, stage, claim, bid, scratch)
        finally:
            owner.drop(bid)

    def _run(
        self, pipeline: Pipeline, stage: Stage, claim: Claim, bid: Bid, scratch: Scratch
    ) -> str:
        head, step = claim.head, claim.head.step
        context = self._context(claim, bid, scratch)
        try:
            checkpoint, successor = self._load(claim, stage)
            self._reach("loaded", step)
            if successor is not None:
                context.log.warning(
                    "Stage %s was done already; its checkpoint is adopted.", stage.name
                )
                outcome = self._advance(pipeline, stage, claim, successor, None)
                scratch.tidy()
                return outcome
            context.messages.extend(checkpoint.messages)
            context.tool_calls.extend(checkpoint.tool_calls)
            context.context.update(checkpoint.context)
            started = datetime.now(UTC)
            state = self._call(stage, checkpoint.state, context)
            self._reach("ran", step)
            following = pipeline.following(stage.name)
            result = Checkpoint(
                metadata=CheckpointMetadata(
                    run_id=head.run_id,
                    sequence=head.sequence + 1,
                    timeline=head.timeline,
                    lane=head.lane,
                    parent=head.checkpoint_id,
                    status=Status.RUNNING if following else Status.COMPLETED,
                    stage=stage.name,
                    next_stage=following.name if following else None,
                    attempt=head.attempt,
                    token=claim.token,
                    pipeline=head.pipeline,
                    pipeline_version=head.version,
                    tags=head.tags,
                    worker=self._runtime.owner.worker,
                    started_at=started,
                ),
                state=state,
                messages=context.messages,
                tool_calls=context.tool_calls,
                context=context.context,
            )
            outcome = self._commit(pipeline, stage, claim, bid, result)
            if outcome not in (Advance.FENCED, Advance.OCCUPIED):
                scratch.tidy()
            return outcome
        except (HandBack, KeyboardInterrupt) as error:
            outcome = self._hand_back(claim)
            if isinstance(error, KeyboardInterrupt):
                raise
            return outcome
        except ClaimLost:
            context.log.warning("Stopped: the claim on stage %s is gone.", stage.name)
            return Advance.FENCED
        except Unavailable:
            # Nothing of the stage is at fault. The claim is dropped, the heartbeat frees it.
            raise
        except Refused as error:
            # Nor here, but a store that says no may say it for long, or for good.
            return self._fail(claim, stage, error, context, _AFTER_REFUSAL)
        except SystemExit as error:
            # The pool's children are sent SIGTERM on SIGQUIT too, before Celery says that it stops.
            if self._runtime.owner.stopping or terminate_handler_fired():
                self._hand_back(claim)
                raise
            failure = TaskError(f"Stage {stage.name} called sys.exit({error.code!r}).")
            return self._fail(claim, stage, failure, context)
        except _StageRaised as raised:
            return self._fail(claim, stage, raised.error, context)
        except self._timeout_error:
            return self._fail(claim, stage, self._late(stage, context), context)
        except Exception as error:  # noqa: BLE001 - its state cannot be read or kept: that is recorded
            return self._fail(claim, stage, error, context)

    def _load(self, claim: Claim, stage: Stage) -> tuple[Checkpoint, CheckpointMetadata | None]:
        """Return the checkpoint to work on, and the commit of this very step if it stands already."""
        head, successor = claim.head, None
        record = claim.record
        if record is None:
            record = self._log.latest(head.run_id, lane=head.lane)
            if record is not None and record.key != head.key:
                successor = self._adoptable(record, head) or self._committed(head)
                record = None
            record = record or self._log.get(head.key)
        try:
            return self._serializer.decode(record, state_type=stage.input), successor
        except ValidationError as error:
            raise state_invalid(error, stage.name, head.run_id) from error

    def _adoptable(self, record: Record, head: Head) -> CheckpointMetadata | None:
        """Return the record's metadata if it is the commit of the step due, and whole."""
        key = record.key
        if (key.timeline, key.sequence) != (head.timeline, head.sequence + 1):
            return None
        metadata = self._serializer.decode(record).metadata
        due = metadata.parent == head.checkpoint_id and metadata.stage == head.stage
        return metadata if due else None

    def _committed(self, head: Head) -> CheckpointMetadata | None:
        """Find the commit of the step due behind later ones: the run store may have gone back."""
        key = CheckpointKey(head.run_id, head.sequence + 1, head.timeline, lane=head.lane)
        with suppress(NotFound):
            return self._adoptable(self._log.get(key), head)
        return None

    def _call(self, stage: Stage, state: Any, context: Context) -> Any:
        try:
            return stage.call(state, context)
        except StoreFailed as failed:
            raise failed.error from None
        except self._timeout_error as error:
            raise _StageRaised(self._late(stage, context)) from error
        except Exception as error:
            raise _StageRaised(error) from error
        except (HandBack, ClaimLost, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # A coroutine that was cancelled, for one. Celery takes such for its own and may end.
            failure = TaskError(f"Stage {stage.name} raised {type(error).__name__}: {error}")
            raise _StageRaised(failure) from error

    def _late(self, stage: Stage, context: Context) -> StageTimeout:
        limit = stage.timeout_seconds
        what = "the worker's soft time limit" if limit is None else f"its timeout of {limit:g} s"
        return StageTimeout(f"Stage {stage.name} ran longer than {what}.", run_id=context.run_id)

    def _commit(
        self, pipeline: Pipeline, stage: Stage, claim: Claim, bid: Bid, result: Checkpoint
    ) -> str:
        record = self._serializer.encode(result, state_type=stage.output)
        metadata = result.metadata
        if self._runtime.log_in_runs:
            return self._advance(pipeline, stage, claim, metadata, record)
        while True:
            self._patiently(self._guard, bid)
            try:
                self._patiently(self._log.put, record)
                break
            except AlreadyExists:
                adopted = self._adoptable(self._log.get(record.key), claim.head)
                if adopted is not None:
                    metadata = adopted
                    break
                timeline = self._patiently(self._runs.divert, claim)
                if timeline is None:
                    return Advance.FENCED
                claim = replace(claim, head=replace(claim.head, timeline=timeline))
                metadata = metadata.model_copy(update={"timeline": timeline})
                result = result.model_copy(update={"metadata": metadata})
                record = self._serializer.encode(result, state_type=stage.output)
        self._reach("saved", claim.head.step)
        return self._advance(pipeline, stage, claim, metadata, None)

    def _guard(self, bid: Bid) -> None:
        """Write nothing once another worker may hold the run."""
        owner = self._runtime.owner
        if not owner.is_fresh:
            owner.beat()
        if owner.has_lost(bid):
            raise ClaimLost

    def _advance(
        self,
        pipeline: Pipeline,
        stage: Stage,
        claim: Claim,
        metadata: CheckpointMetadata,
        record: Record | None,
    ) -> str:
        head, following = claim.head, pipeline.following(stage.name)
        routed = push = None
        if following is not None:
            routed = self._runtime.routing.next(pipeline.name, following)
            due = Step(
                head.run_id, metadata.sequence, routed.stage, metadata.timeline, metadata.lane
            )
            push = self._runtime.dispatch.render(pipeline.name, due, routed.queue, routed.priority)
        commit = Commit(
            checkpoint_id=metadata.checkpoint_id,
            path=record.key.path if record else metadata.key.path,
            sequence=metadata.sequence,
            timeline=metadata.timeline,
            following=routed,
            record=record,
            push=push,
        )
        outcome = self._patiently(self._runs.advance, claim, commit)
        if outcome is not Advance.ADVANCED:
            logger.warning(
                "Run %s: the result of stage %s was refused (%s).", head.run_id, stage.name, outcome
            )
            return outcome
        self._reach("advanced", head.step)
        if routed is None:
            return "completed"
        if push is None:
            after = replace(
                head,
                sequence=metadata.sequence,
                timeline=metadata.timeline,
                stage=routed.stage,
                queue=routed.queue,
                priority=routed.priority,
                published_at=0,
            )
            self._runtime.dispatch.publish(after, reach=self._reach)
        return f"advanced to {routed.stage}"

    def _fail(
        self,
        claim: Claim,
        stage: Stage,
        error: BaseException,
        context: Context,
        retry: Retry | None = None,
    ) -> str:
        retry = retry or stage.options.retry
        delay = retry.delay_seconds(claim.head.failures + 1, error)
        text = describe(error, stage.name)
        milliseconds = None if delay is None else int(delay * 1000)
        if not self._patiently(self._runs.fail, claim, text, milliseconds):
            context.log.warning(
                "The failure of stage %s was refused: the claim is gone.", stage.name
            )
            return Advance.FENCED
        raise StageFailed(error, delay) from error

    def _hand_back(self, claim: Claim) -> str:
        head = replace(claim.head, published_at=0)
        push = self._runtime.dispatch.render_due(head)
        if not self._patiently(self._runs.hand_back, claim, push):
            return Advance.FENCED
        if push is None:
            self._runtime.dispatch.publish(head)
        return "handed back"

    def _patiently(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Repeat *call* while the store is away: what a stage has worked out is worth waiting for."""
        end = time.monotonic() + self._runtime.settings.commit_patience_seconds
        pause = 0.1
        while True:
            try:
                return call(*args, **kwargs)
            except Unavailable as error:
                if time.monotonic() + pause > end:
                    raise
                logger.warning("Trying again in %.1f s: %s", pause, error)
            time.sleep(pause)
            pause = min(2.0, pause * 2)

    def _refused(self, refusal: Refusal, step: Step) -> str:
        if refusal is Refusal.AHEAD:
            logger.error(
                "Run %s: a message names checkpoint %d of timeline %d, which the run store does not "
                "know. The store went back in time, or the message is forged; the run goes on from "
                "what is there.",
                step.run_id,
                step.sequence,
                step.timeline,
            )
        return refusal

    def _context(self, claim: Claim, bid: Bid, scratch: Scratch) -> Context:
        head, owner = claim.head, self._runtime.owner
        about = {"run_id": head.run_id, "stage": head.stage, "attempt": head.attempt}
        return Context(
            run_id=head.run_id,
            pipeline=head.pipeline,
            stage=head.stage,
            sequence=head.sequence,
            attempt=head.attempt,
            idempotency_key=f"{head.run_id}-{head.checkpoint_id}-{head.stage}",
            log=logging.LoggerAdapter(logging.getLogger(f"milepost.{head.pipeline}"), about),
            _stopping=lambda: owner.stopping,
            _cancelled=lambda: owner.has_lost(bid),
            _progress=Progress(scratch.saved(), scratch.save),
            _once=scratch.once,
        )

    def _reach(self, point: Point, step: Step) -> None:
        self._runtime.faultpoints.reach(point, step.run_id, step.stage)
