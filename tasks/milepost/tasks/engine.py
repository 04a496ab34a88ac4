"""The engine: executes one step."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from billiard.common import terminate_handler_fired

from milepost.checkpointing import (
    BlobWriter,
    Checkpoint,
    CheckpointMetadata,
    Refused,
    Status,
    Unavailable,
)

from .budget import check_budget, spent_so_far
from .burst import Burst
from .commits import Committer
from .context import Context
from .errors import (
    BudgetExceeded,
    ClaimLost,
    CodeMismatch,
    HandBack,
    OutOfBudget,
    StageTimeout,
    StoreFailed,
    TaskError,
)
from .faultpoints import Point
from .head import Head, RunStatus, Step
from .meter import Meter
from .monitor import UNWATCHED, Monitor
from .observer import Outcome, outcome_of
from .patience import Patience
from .progress import Progress
from .retry import Retry
from .run_log import RunLog
from .runs import Advance, Bid, Claim, Refusal
from .scratch import Scratch
from .setbacks import Setbacks, StageFailed
from .stage import Stage
from .versions import Place

if TYPE_CHECKING:
    from .runtime import Runtime

logger = logging.getLogger("milepost")
_AFTER_REFUSAL = Retry(attempts=10, backoff="5s..5m")
"""When a stage is tried again whose result a store refused: for half an hour, whatever the stage says."""


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
        self._observers = runtime.observers
        self._log = runtime.checkpoints.store
        self._serializer = runtime.checkpoints.serializer
        self._timeout_error = timeout_error
        self._patiently = Patience(runtime.settings.commit_patience_seconds, runtime.process)
        self._run_log = RunLog(runtime.checkpoints)
        self._committer = Committer(runtime, self._patiently, self._reach)
        self._setbacks = Setbacks(runtime, self._patiently)

    def execute(self, pipeline: str, step: Step, monitor: Monitor = UNWATCHED) -> str:
        """Run *step* if it is due, go on as far as a `Burst` does, and say what became of *step*.

        What becomes of the stages after it is told to *monitor* alone.

        Args:
            pipeline: The name of the pipeline the message is for.

        Raises:
            StageFailed: The stage raised, or a store refused; the failure is recorded.
            Unavailable: A store does not answer; the reconciler brings the step back.
        """
        self._reach("received", step)
        burst = Burst(self._runtime.owner, self._runtime.process)
        try:
            claim = self._runs.claim(step, burst.bid)
            if isinstance(claim, Refusal):
                return self._refused(claim, step)
            self._runtime.owner.confirm(burst.bid)
            said = self._take(pipeline, claim, burst, monitor)
            while (onward := burst.turn()) is not None:
                self._go_on(pipeline, onward, burst, monitor)
            return said
        finally:
            burst.close()

    def _go_on(self, pipeline: str, claim: Claim, burst: Burst, monitor: Monitor) -> None:
        monitor.began(claim.head.step)
        try:
            said = self._take(pipeline, claim, burst, monitor)
        except BaseException as error:
            monitor.failed(error)
            # It is recorded, or the reconciler sees to it; the step that was asked for is done.
            if not isinstance(error, Exception):
                raise
        else:
            monitor.ended(said)

    def _take(self, pipeline: str, claim: Claim, burst: Burst, monitor: Monitor) -> str:
        head, bid = claim.head, burst.bid
        self._reach("claimed", head.step)
        try:
            place = self._runtime.versions[pipeline].place(head)
            if head.budget:
                check_budget(head, spent_so_far(head))
        except CodeMismatch as error:
            return self._setbacks.turn_away(head, claim.nonce, error)
        except BudgetExceeded as error:
            return self._setbacks.park(claim, error, ran=False)
        if place.head is not head:
            claim = replace(claim, head=place.head)
        meter = Meter(self._runtime, claim)
        guard = partial(self._committer.guard, bid)
        scratch = Scratch(
            self._runtime, claim, guard, self._patiently, meter.keep, monitor.progressed
        )
        return self._observed(place, claim, burst, scratch, meter)

    def turn_away(self, pipeline: str, step: Step) -> str:
        """Deal with a step whose stage this worker does not know; say what became of it."""
        head = self._runs.get(step.run_id)
        if head is None or head.step != step or head.status is not RunStatus.QUEUED:
            return "stale"
        try:
            self._runtime.versions[pipeline].place(head)
        except CodeMismatch as error:
            return self._setbacks.turn_away(head, "", error)
        return "known"

    def _observed(
        self, place: Place, claim: Claim, burst: Burst, scratch: Scratch, meter: Meter
    ) -> str:
        end = self._observers.begin(claim.head, place.stage.name) if self._observers else None
        if end is None:
            return self._run(place, claim, burst, scratch, meter)
        outcome: Outcome = Outcome.INTERRUPTED
        error: BaseException | None = None
        try:
            said = self._run(place, claim, burst, scratch, meter)
            outcome = outcome_of(said)
            return said
        except StageFailed as failed:
            outcome = Outcome.FAILED if failed.delay_seconds is None else Outcome.RETRIED
            error = failed.error
            raise
        except BaseException as interruption:
            error = interruption
            raise
        finally:
            end(outcome, error)

    def _run(self, place: Place, claim: Claim, burst: Burst, scratch: Scratch, meter: Meter) -> str:
        head, step, stage = claim.head, claim.head.step, place.stage
        context = self._context(place, claim, burst.bid, scratch, meter)
        try:
            checkpoint = self._run_log.load(claim, place)
            self._reach("loaded", step)
            if isinstance(checkpoint, CheckpointMetadata):
                context.log.warning(
                    "Stage %s was done already; checkpoint %d is adopted.",
                    stage.name,
                    checkpoint.sequence,
                )
                outcome = self._committer.advance(place, claim, checkpoint, None, adopted=True)
                scratch.tidy()
                return outcome
            context.messages.extend(checkpoint.messages)
            context.tool_calls.extend(checkpoint.tool_calls)
            context.context.update(checkpoint.context)
            started = datetime.now(UTC)
            state = self._call(stage, checkpoint.state, context)
            self._reach("ran", step)
            following = place.pipeline.following(stage.name)
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
                    pipeline_version=place.pipeline.version,
                    tags=head.tags,
                    cost=meter.amounts,
                    facts=self._runtime.facts(head, meter.amounts),
                    worker=self._runtime.owner.worker,
                    started_at=started,
                ),
                state=state,
                messages=context.messages,
                tool_calls=context.tool_calls,
                context=context.context,
            )
            outcome = self._committer.commit(place, claim, burst, checkpoint, result)
            if outcome not in (Advance.FENCED, Advance.OCCUPIED):
                scratch.tidy()
            return outcome
        except (HandBack, KeyboardInterrupt) as error:
            meter.flush()
            outcome = self._setbacks.hand_back(place, claim)
            if isinstance(error, KeyboardInterrupt):
                raise
            return outcome
        except OutOfBudget as stopped:
            meter.flush()
            return self._setbacks.park(claim, stopped.error, ran=True)
        except ClaimLost:
            context.log.warning("Stopped: the claim on stage %s is gone.", stage.name)
            return Advance.FENCED
        except Unavailable:
            # Nothing of the stage is at fault. The claim is dropped, the heartbeat frees it.
            raise
        except Refused as error:
            # Nor here, but a store that says no may say it for long, or for good.
            return self._setbacks.fail(claim, stage, error, _AFTER_REFUSAL)
        except SystemExit as error:
            # The pool's children are sent SIGTERM on SIGQUIT too, before Celery says that it stops.
            if self._runtime.owner.stopping or terminate_handler_fired():
                self._setbacks.hand_back(place, claim)
                raise
            failure = TaskError(f"Stage {stage.name} called sys.exit({error.code!r}).")
            return self._setbacks.fail(claim, stage, failure)
        except _StageRaised as raised:
            meter.flush()
            return self._setbacks.fail(claim, stage, raised.error)
        except self._timeout_error:
            return self._setbacks.fail(claim, stage, self._late(stage, context))
        except Exception as error:  # noqa: BLE001 - its state cannot be read or kept: that is recorded
            return self._setbacks.fail(claim, stage, error)

    def _call(self, stage: Stage, state: Any, context: Context) -> Any:
        try:
            return stage.call(state, context)
        except StoreFailed as failed:
            raise failed.error from None
        except self._timeout_error as error:
            raise _StageRaised(self._late(stage, context)) from error
        except Exception as error:
            raise _StageRaised(error) from error
        except (HandBack, OutOfBudget, ClaimLost, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # A coroutine that was cancelled, for one. Celery takes such for its own and may end.
            failure = TaskError(f"Stage {stage.name} raised {type(error).__name__}: {error}")
            raise _StageRaised(failure) from error

    def _late(self, stage: Stage, context: Context) -> StageTimeout:
        limit = stage.timeout_seconds
        what = "the worker's soft time limit" if limit is None else f"its timeout of {limit:g} s"
        return StageTimeout(f"Stage {stage.name} ran longer than {what}.", run_id=context.run_id)

    def _refused(self, refusal: Refusal, step: Step) -> str:
        if refusal is Refusal.AHEAD:
            self._observers.came_ahead()
            logger.error(
                "Run %s: a message names checkpoint %d of timeline %d, which the run store does not "
                "know. The store went back in time, or the message is forged; the run goes on from "
                "what is there.",
                step.run_id,
                step.sequence,
                step.timeline,
            )
        return refusal

    def _context(
        self, place: Place, claim: Claim, bid: Bid, scratch: Scratch, meter: Meter
    ) -> Context:
        head, owner, stage = claim.head, self._runtime.owner, place.stage.name
        about = {"run_id": head.run_id, "stage": stage, "attempt": head.attempt}
        return Context(
            run_id=head.run_id,
            pipeline=head.pipeline,
            stage=stage,
            sequence=head.sequence,
            attempt=head.attempt,
            idempotency_key=f"{head.run_id}-{head.checkpoint_id}-{head.stage}",
            log=logging.LoggerAdapter(logging.getLogger(f"milepost.{head.pipeline}"), about),
            _stopping=lambda: owner.stopping,
            _cancelled=lambda: owner.has_lost(bid),
            _progress=Progress(scratch.saved(), scratch.save),
            _once=scratch.once,
            _cost=meter.cost,
            _afford=meter.afford,
            _write_blob=partial(self._write_blob, bid, head.run_id),
            _open_blob=self._runtime.checkpoints.open_blob,
            _checkpoint=partial(self._write_checkpoint, bid, head, stage),
        )

    def _write_checkpoint(
        self, bid: Bid, head: Head, stage: str, state: Any, tags: Sequence[str]
    ) -> str:
        self._committer.guard(bid)
        written = self._runtime.checkpoints.create(
            head.run_id,
            state,
            step_name=stage,
            tags=tags,
            parent_id=head.checkpoint_id,
            force=True,
        )
        assert written is not None
        return written.checkpoint_id

    def _write_blob(self, bid: Bid, run_id: str, name: str) -> BlobWriter:
        guard = partial(self._committer.guard, bid)
        return self._runtime.checkpoints.write_blob(run_id, name, guard)

    def _reach(self, point: Point, step: Step) -> None:
        self._runtime.faultpoints.reach(point, step.run_id, step.stage)
