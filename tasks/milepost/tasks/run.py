"""A handle on one run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from milepost.checkpointing import Checkpoint, CheckpointMetadata

from .errors import RunCancelled, RunFailed, RunPaused, UnknownRun
from .head import Head, RunStatus
from .runs.registry import Note
from .spent import Spent

if TYPE_CHECKING:
    from .app import Milepost


class Run:
    """A run, whoever started it; every property asks the store.

    Raises, from everything but `id`:
        UnknownRun: The run store knows no such run.
    """

    def __init__(self, app: Milepost, run_id: str) -> None:
        self._app = app
        self.id = run_id

    def __repr__(self) -> str:
        return f"<Run {self.id}>"

    @property
    def head(self) -> Head:
        """The run's current record."""
        head = self._app.runs.get(self.id)
        if head is None:
            raise UnknownRun(
                f"No run {self.id} in {self._app.runs.location}: it was never started, was deleted, "
                "or ended longer ago than runs are kept.",
                run_id=self.id,
            )
        return head

    @property
    def status(self) -> RunStatus:
        """Where the run stands."""
        return self.head.status

    @property
    def progress(self) -> tuple[int, int]:
        """Stages committed, and stages in all."""
        head = self.head
        return head.stages_done, head.stages_total

    @property
    def checkpoint(self) -> Checkpoint:
        """The current checkpoint, its state as plain JSON."""
        return self._app.checkpoints.get(self.head.key)

    @property
    def state(self) -> Any:
        """The current state: the model of the stage that gave it, where that is known here."""
        return self._app.lifecycle.state(self.head)

    def checkpoints(self, limit: int | None = None) -> list[CheckpointMetadata]:
        """Return the metadata of the run's checkpoints, newest first."""
        return self._app.checkpoints.list_checkpoints(self.id, limit=limit)

    def wait(self, timeout: float | None = None) -> Run:
        """Return when the run has completed.

        Args:
            timeout: Seconds; None: wait for good.

        Raises:
            RunFailed, RunCancelled: It ended in another way.
            RunPaused: Milepost paused it: it is out of budget, or its stage due is not in the code any more.
                (One that a person paused is waited for.)
            TimeoutError: It has not ended in time; it goes on.
        """
        end = None if timeout is None else time.monotonic() + timeout
        pause = 0.01
        while True:
            head = self.head
            if head.status is RunStatus.COMPLETED:
                return self
            if head.status is RunStatus.FAILED:
                failure = head.failure or {}
                raise RunFailed(
                    f"Run {self.id} failed in stage {head.stage}: {failure.get('type')}: "
                    f"{failure.get('message')} (milepost retry {self.id})",
                    run_id=self.id,
                )
            if head.is_parked:
                raise RunPaused(
                    f"Run {self.id} is paused in stage {head.stage}: {(head.failure or {})['message']}",
                    run_id=self.id,
                )
            if head.status is RunStatus.CANCELLED:
                raise RunCancelled(f"Run {self.id} was cancelled.", run_id=self.id)
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"Run {self.id} is {head.status} after {timeout} s.")
            time.sleep(pause)
            pause = min(0.25, pause * 1.5)

    def retry(self) -> None:
        """Let a failed run go on at the stage that failed, or a scheduled one now.

        Raises:
            Conflict: It is neither.
        """
        self._app.lifecycle.retry(self.id)

    @property
    def spent(self) -> Spent:
        """What its stages have reported and the seconds they took, useful and wasted apart."""
        return self.head.spent

    def top_up(self, **amounts: float) -> None:
        """Raise limits of the run's budget, as ``run.top_up(usd=5)``; a paused run is then to be resumed.

        Raises:
            Conflict: Its budget has no such limit.
            Misconfigured: An amount is not a number above zero.
        """
        self._app.lifecycle.top_up(self.id, amounts)

    def pause(self) -> None:
        """Stop before the next stage; a stage that runs is let finish.

        Raises:
            Conflict: The run has ended.
        """
        self._app.lifecycle.pause(self.id)

    def resume(self) -> None:
        """Let a paused run go on.

        Raises:
            Conflict: It is not paused.
        """
        self._app.lifecycle.resume(self.id)

    def cancel(self) -> None:
        """End the run; a stage in flight learns of it, and its result is refused.

        Raises:
            Conflict: The run has completed. (A failed one can be cancelled: it is not retried then.)
        """
        self._app.lifecycle.cancel(self.id)

    def rewind(self, stage: str | None = None, *, checkpoint_id: str | None = None) -> None:
        """Go on from before *stage*, with the state the run had there; what came after is left behind.

        A paused run stays paused; a stage in flight learns of it, and its result is refused.

        Args:
            checkpoint_id: Go on from this commit of the run instead, even one that was left behind.

        Raises:
            NotFound: There is no such checkpoint.
            UnknownPipeline: The pipeline or the stage is not known here.
            Conflict: The run has not come to the stage, or its checkpoints are not kept that long.
        """
        self._app.lifecycle.rewind(self.id, stage, checkpoint_id=checkpoint_id)

    def skip(self) -> None:
        """Go on behind the stage due, with the state it would have got.

        Raises:
            StateInvalid: The stage after it cannot do with that state; nothing was written.
            Conflict: The run has ended.
        """
        self._app.lifecycle.skip(self.id)

    def edit(self, state: Any = None, *, patch: Any = None) -> None:
        """Replace the state that the stage due gets, or change it by a JSON merge patch.

        A failed run stays failed: retry it then. A stage that runs is not disturbed: pause the run first.

        Raises:
            StateInvalid: The state is not what the stage takes; nothing was written.
            Conflict: The run runs or has ended.
        """
        self._app.lifecycle.edit(self.id, state, patch=patch)

    def fork(self, stage: str | None = None, *, run_id: str | None = None) -> Run:
        """Start another run from what this one had before *stage* (default: the one due) and return it.

        Raises:
            Conflict: This one has not come to the stage, or its checkpoints are not kept that long.
        """
        return Run(self._app, self._app.lifecycle.fork(self.id, stage, as_run=run_id))

    @property
    def notes(self) -> list[Note]:
        """Who commanded what and when, newest first."""
        return self._app.lifecycle.notes(self.id)

    def delete(self) -> None:
        """Forget the run and its checkpoints.

        Raises:
            Conflict: It has not ended and is not paused.
        """
        self._app.lifecycle.delete(self.id)
