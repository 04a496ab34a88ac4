"""Commands on runs, in one person's or program's name."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from milepost.checkpointing import (
    Checkpoint,
    CheckpointKey,
    Kind,
    MilepostError,
    Misconfigured,
    Status,
)
from milepost.checkpointing.ids import new_run_id, valid_name

from .budget import valid_amounts
from .digest import input_digest
from .errors import Conflict, MovedOn, UnknownPipeline, UnknownRun
from .head import Head, RunStatus
from .intents import refusal
from .merge_patch import merge_patch
from .order import Order
from .run_log import RunLog
from .runs.registry import Note
from .spent import added, read_amounts, write_amounts
from .stage import Stage, state_invalid, validated
from .starting import Starter
from .transitions import ALLOWED, Command

if TYPE_CHECKING:
    from .pipeline import Pipeline
    from .runtime import Runtime

logger = logging.getLogger("milepost")


class Lifecycle:
    """What people and programs can do to runs; each command is durable when it returns.

    Which status allows which command is in `transitions`; every command raises `Conflict` in another, and if
    somebody else was faster; those that need the run's code raise `VersionAhead` where it is older than the
    run. Who commanded what, and when, is kept: `notes`.
    """

    def __init__(self, runtime: Runtime, by: str) -> None:
        self._runtime = runtime
        self._runs = runtime.runs
        self._log = runtime.checkpoints.store
        self._starter = Starter(runtime)
        self._run_log = RunLog(runtime.checkpoints)
        self.by = by
        """In whose name commands are noted."""
        self._seen: Head | None = None

    def on_behalf_of(self, by: str) -> Lifecycle:
        """Return the same commands in another's name."""
        other = copy.copy(self)
        other.by = by
        return other

    def only_if(self, seen: Head) -> Lifecycle:
        """Return the same commands; they raise `MovedOn` unless a run stands as *seen* when it is changed."""
        other = copy.copy(self)
        other._seen = seen
        return other

    def start(self, pipeline: Pipeline, order: Order) -> None:
        """Make a run, or find that it is there; see `Pipeline.start`."""
        self._starter.start(pipeline, order)

    def start_many(
        self, pipeline: Pipeline, orders: Sequence[Order]
    ) -> Sequence[Head | MilepostError | None]:
        """Make many runs; see `Pipeline.start_many`."""
        return self._starter.start_many(pipeline, orders)

    def retry(self, run_id: str) -> None:
        """Let a failed or scheduled run move now."""
        self._move(Command.RETRY, run_id)

    def resume(self, run_id: str) -> None:
        """Let a paused run move, or take back the pause of one that still runs its stage."""
        self._move(Command.RESUME, run_id)

    def pause(self, run_id: str) -> None:
        """Stop a run before its next stage."""
        head = self.head(run_id)
        with self._noted(Command.PAUSE, head):
            status = self._runs.pause(run_id, seen=self._seen)
            if status not in ALLOWED[Command.PAUSE]:
                raise refusal(Command.PAUSE, run_id, status)

    def cancel(self, run_id: str) -> None:
        """End a run with a checkpoint that says so; cancelling twice is harmless."""
        head = self.head(run_id)
        with self._noted(Command.CANCEL, head):
            self._runtime.intents.cancel(head, self._seen)

    def rewind(
        self, run_id: str, stage: str | None = None, *, checkpoint_id: str | None = None
    ) -> None:
        """Let a run go on from before *stage*, with the state it had there; what came after is left behind.

        Args:
            checkpoint_id: Go on from this commit of the run instead, even one that was left behind.

        Raises:
            UnknownPipeline: The pipeline or the stage is not known here.
            NotFound: There is no such checkpoint.
            Conflict: No checkpoint from before the stage is left, or no stage was due after this one, too.
            Misconfigured: Neither or both are given.
        """
        if (stage is None) == (checkpoint_id is None):
            raise Misconfigured("A rewind takes either a stage or a checkpoint.")
        head = self.head(run_id)
        with self._noted(Command.REWIND, head, f"to {stage or checkpoint_id}"):
            self._check(Command.REWIND, head)
            pipeline = self._pipeline(head)
            if stage is not None:
                target = pipeline.known(stage)
                source = self._before(head, pipeline, target, Command.REWIND)
            else:
                source = self._chosen(head, str(checkpoint_id))
                due = source.metadata.next_stage or ""
                target = pipeline.known(pipeline.due_now(due) or due)
            self._take(source, pipeline, target)
            note = f"rewound to {target.name} by {self.by}"
            self._runtime.intents.redirect(
                Command.REWIND, head, pipeline, target, source, note, seen=self._seen
            )

    def skip(self, run_id: str) -> None:
        """Let a run go on behind the stage due, with the state that stage would have got.

        Raises:
            UnknownPipeline: The pipeline or the stage is not known here.
            StateInvalid: The stage after it cannot do with that state.
        """
        head = self.head(run_id)
        with self._noted(Command.SKIP, head, head.stage):
            self._check(Command.SKIP, head)
            pipeline = self._pipeline(head)
            skipped = pipeline.known(pipeline.due_now(head.stage) or head.stage)
            following = pipeline.following(skipped.name)
            source = self._runtime.checkpoints.get(head.key)
            if following is not None:
                self._take(source, pipeline, following)
            note = f"{skipped.name} skipped by {self.by}"
            self._runtime.intents.redirect(
                Command.SKIP, head, pipeline, following, source, note, seen=self._seen
            )

    def edit(self, run_id: str, state: Any = None, *, patch: Any = None) -> None:
        """Replace the state that the stage due gets, or change it by a JSON merge patch (RFC 7396).

        Raises:
            UnknownPipeline: The pipeline or the stage is not known here.
            StateInvalid: It is not what the stage takes; nothing was written.
            Misconfigured: Neither or both are given.
        """
        if (state is None) == (patch is None):
            raise Misconfigured("An edit takes either a whole state or a patch.")
        head = self.head(run_id)
        with self._noted(Command.EDIT, head, json.dumps(patch) if patch is not None else "whole"):
            self._check(Command.EDIT, head)
            pipeline = self._pipeline(head)
            target = pipeline.known(pipeline.due_now(head.stage) or head.stage)
            source = self._runtime.checkpoints.get(head.key)
            new = state if patch is None else merge_patch(source.state, patch)
            if target.input is not None:
                new = validated(new, target.input, target.name, run_id)
            edited = source.model_copy(update={"state": new, "manifest": None})
            note = f"edited by {self.by}"
            self._runtime.intents.redirect(
                Command.EDIT, head, pipeline, target, edited, note, target.input, self._seen
            )

    def fork(self, run_id: str, stage: str | None = None, *, as_run: str | None = None) -> str:
        """Start another run from what this one had before *stage* (default: the one due); return its id.

        Blobs in the state stay the first run's: they go with it.

        Args:
            as_run: The new run's id; by default a fresh one.

        Raises:
            Conflict: The run has ended and no stage is named, or no checkpoint from before it is left.
            InputMismatch: The new id is taken by another run.
        """
        head = self.head(run_id)
        as_run = new_run_id() if as_run is None else valid_name(as_run)
        with self._noted(Command.FORK, head, f"{as_run} at {stage or head.stage}"):
            self._check(Command.FORK, head)
            pipeline = self._pipeline(head)
            if not (stage or head.stage):
                raise Conflict(
                    f"Run {run_id} is {head.status}: name the stage at which the fork begins.",
                    run_id=run_id,
                    status=head.status,
                )
            target = pipeline.known(stage or pipeline.due_now(head.stage) or head.stage)
            source = self._before(head, pipeline, target, Command.FORK)
            checkpoint = self._take(source, pipeline, target)
            origin = f"{run_id}/{source.metadata.checkpoint_id}"
            order = Order(
                run_id=as_run,
                state=checkpoint.state,
                digest=input_digest(pipeline.name, origin, origin, None),
                tags=head.tags,
                budget=head.budget,
                priority=head.run_priority,
                tenant=head.tenant,
            )
            self._starter.fork(pipeline, target, checkpoint, order, origin)
        return as_run

    def delete(self, run_id: str) -> None:
        """Forget a run that has ended or is paused, with its checkpoints; deleting twice is harmless."""
        head = self._runs.get(valid_name(run_id))
        if head is None:
            # What a stage wrote while its run was being deleted is nobody's.
            if not self._runtime.checkpoints.delete_run(run_id):
                raise self._unknown(run_id)
            return
        with self._noted(Command.DELETE, self._as_seen(head)):
            self._runtime.intents.delete(head, self._seen)

    def top_up(self, run_id: str, amounts: Mapping[str, float]) -> None:
        """Raise limits of a run's budget by *amounts*."""
        more = valid_amounts(amounts, "budget")
        if not more:
            raise Misconfigured("A budget is topped up by amounts: top_up(usd=5).")
        head = self.head(run_id)
        with self._noted(Command.TOP_UP, head, json.dumps(more)):
            self._check(Command.TOP_UP, head)
            call = token_hex(8)
            while True:
                limits = read_amounts(head.budget)
                unknown = ", ".join(more.keys() - limits.keys())
                if unknown:
                    raise Conflict(
                        f"The budget of run {run_id} has no limit for {unknown}; it has "
                        f"{', '.join(limits) or 'none at all'}.",
                        run_id=run_id,
                        status=head.status,
                    )
                new = write_amounts(added(limits, more))
                if self._runs.set_budget(head, new, call, seen=self._seen):
                    break
                head = self.head(run_id)
        if head.log_elsewhere:
            self._runtime.markers.write(self.head(run_id))

    def notes(self, run_id: str | None = None, limit: int = 100) -> list[Note]:
        """Return who commanded what and when, of a run or of all, newest first."""
        return self._runs.notes(run_id, limit)

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
        try:
            return self._run_log.read(self._log.get(head.key), pipeline, state_type).state
        except ValidationError:
            if checkpoint.metadata.note is None:
                raise
            # An operator's: it is what the stage due takes.
            return checkpoint.state

    def head(self, run_id: str) -> Head:
        """Return the head of a run.

        Raises:
            UnknownRun: There is none.
        """
        head = self._runs.get(valid_name(run_id))
        if head is None:
            raise self._unknown(run_id)
        return self._as_seen(head)

    def _as_seen(self, head: Head) -> Head:
        if self._seen is not None and head.place != self._seen.place:
            raise MovedOn.of(head.run_id, head.status)
        return head

    def _move(self, command: Command, run_id: str) -> None:
        head = self.head(run_id)
        with self._noted(command, head):
            self._check(command, head)
            idle = head.status is RunStatus.RUNNING and not head.pause
            if not idle:
                self._runtime.markers.resumed(head)
            if idle or not self._runs.resume(head, seen=self._seen):
                raise refusal(command, run_id, self.head(run_id).status)
        now = self._runs.get(run_id)
        if now is not None and now.status is RunStatus.QUEUED:
            self._runtime.dispatch.publish(now)

    def _check(self, command: Command, head: Head) -> None:
        if head.status not in ALLOWED[command]:
            raise refusal(command, head.run_id, head.status)

    @contextmanager
    def _noted(self, command: Command, head: Head, detail: str = "") -> Iterator[None]:
        """Note a command before it is done, so that nothing is done unnoted; and that it was refused."""
        note = Note(head.run_id, self.by, command, detail[:1000])
        self._runs.note(note)
        try:
            yield
        except MilepostError as error:
            self._runs.note(replace(note, detail=f"refused: {error}"[:1000]))
            raise

    def _pipeline(self, head: Head) -> Pipeline:
        versions = self._runtime.versions.get(head.pipeline)
        if versions is None:
            known = ", ".join(self._runtime.versions) or "none"
            raise UnknownPipeline(
                f"Run {head.run_id} is of pipeline {head.pipeline}, which is not defined here (known: "
                f"{known}). Name the application that has it: -A MODULE or MILEPOST_APP.",
                run_id=head.run_id,
            )
        return versions.going_on(head.run_id, head.version)

    def _before(self, head: Head, pipeline: Pipeline, stage: Stage, command: Command) -> Checkpoint:
        """Return the checkpoint with which *stage* was due, or last was, on the way to where the run is."""
        if pipeline.due_now(head.stage) == stage.name:
            return self._runtime.checkpoints.get(head.key)
        wanted: str | None = head.checkpoint_id
        for metadata in self._runtime.checkpoints.list_checkpoints(head.run_id):
            if metadata.checkpoint_id != wanted:
                continue
            if metadata.next_stage and pipeline.due_now(metadata.next_stage) == stage.name:
                return self._runtime.checkpoints.get(metadata.key)
            wanted = metadata.parent
        raise Conflict(
            f"Run {head.run_id} has no checkpoint from before stage {stage.name}: it has not come there, or "
            f"its checkpoints are not kept that long; {command} needs one.",
            run_id=head.run_id,
            status=head.status,
        )

    def _chosen(self, head: Head, checkpoint_id: str) -> Checkpoint:
        key = self._runtime.checkpoints.find(checkpoint_id, head.run_id)
        source = self._runtime.checkpoints.get(key)
        if key.kind is not Kind.COMMIT or source.metadata.next_stage is None:
            raise Conflict(
                f"No stage was due after checkpoint {checkpoint_id} of run {head.run_id}: a run goes on from "
                "its commits before the last.",
                run_id=head.run_id,
                status=head.status,
            )
        return source

    def _take(self, source: Checkpoint, pipeline: Pipeline, stage: Stage) -> Checkpoint:
        """Return *source* as *stage* will get it, so that what it cannot do with is refused here."""
        key: CheckpointKey = source.metadata.key
        if stage.input is None:
            return source
        try:
            return self._run_log.read(self._log.get(key), pipeline, stage.input)
        except ValidationError as error:
            raise state_invalid(error, stage.name, key.run_id) from error

    def _unknown(self, run_id: str) -> UnknownRun:
        return UnknownRun(f"No run {run_id} in {self._runs.location}.", run_id=run_id)
