"""Writing what a stage gave: checkpoint, head and next message, in an order that is safe at every point."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from milepost.checkpointing import (
    AlreadyExists,
    Checkpoint,
    CheckpointMetadata,
    Record,
    Status,
)

from .burst import Burst
from .errors import ClaimLost
from .faultpoints import Point
from .head import RunStatus, Step
from .patience import Patience
from .run_log import RunLog
from .runs import Advance, Bid, Claim, Commit
from .spent import Amounts, added, read_amounts, write_amounts
from .versions import Place

if TYPE_CHECKING:
    from .runtime import Runtime

logger = logging.getLogger("milepost")


class Committer:
    """Commits steps for the process that runs their stages."""

    def __init__(
        self, runtime: Runtime, patiently: Patience, reach: Callable[[Point, Step], None]
    ) -> None:
        self._runtime = runtime
        self._runs = runtime.runs
        self._log = runtime.checkpoints.store
        self._serializer = runtime.checkpoints.serializer
        self._run_log = RunLog(runtime.checkpoints)
        self._patiently = patiently
        self._reach = reach

    def commit(
        self, place: Place, claim: Claim, burst: Burst, before: Checkpoint, result: Checkpoint
    ) -> str:
        """Write *result* and make it the head; the next stage is run by *burst*, or from its queue."""
        stage, bid, metadata = place.stage, burst.bid, result.metadata
        record = self._serializer.encode(result, state_type=stage.output, base=before.manifest)
        if record.pieces:
            self._patiently(self._guarded, bid, self._runtime.checkpoints.put_pieces, record)
        if self._runtime.log_in_runs:
            return self.advance(place, claim, metadata, record, burst)
        while True:
            try:
                self._patiently(self._guarded, bid, self._log.put, record)
                break
            except AlreadyExists:
                stands = self._log.get(record.key)
                adopted = self._run_log.adoptable(stands, claim.head, place)
                self._runtime.checkpoints.drop_pieces(record)
                if adopted is not None:
                    self._reach("saved", claim.head.step)
                    return self.advance(
                        place, claim, adopted, None, adopted=True, wasted=metadata.cost
                    )
                timeline = self._patiently(self._runs.divert, claim)
                if timeline is None:
                    return Advance.FENCED
                claim = replace(claim, head=replace(claim.head, timeline=timeline))
                metadata = metadata.model_copy(update={"timeline": timeline})
                result = result.model_copy(update={"metadata": metadata})
                record = self._serializer.encode(
                    result, state_type=stage.output, base=before.manifest
                )
                self._patiently(self._guarded, bid, self._runtime.checkpoints.put_pieces, record)
        self._reach("saved", claim.head.step)
        return self.advance(place, claim, metadata, record, burst)

    def guard(self, bid: Bid) -> None:
        """Write nothing once another worker may hold the run."""
        owner = self._runtime.owner
        if not owner.is_fresh:
            owner.beat()
        if owner.has_lost(bid):
            raise ClaimLost

    def _guarded(self, bid: Bid, put: Callable[[Record], object], record: Record) -> None:
        """Write *record*; asked anew each time it is tried, because the last time may be a minute ago."""
        self.guard(bid)
        put(record)

    def advance(
        self,
        place: Place,
        claim: Claim,
        metadata: CheckpointMetadata,
        record: Record | None,
        burst: Burst | None = None,
        *,
        adopted: bool = False,
        wasted: Amounts | None = None,
    ) -> str:
        """Make the checkpoint of *metadata* the head.

        Args:
            record: The checkpoint, unless it is there.
            burst: Goes on with the stage that follows, if it may. After what was adopted none does: more may
                have been done already than the run store knows.
            adopted: Whether another try made it: what that has spent was counted as wasted. It may be a later
                commit than that of the step due; then the run goes on behind that.
            wasted: What this try has spent in vain, then.
        """
        head, pipeline = claim.head, place.pipeline
        following = pipeline.following(place.stage.name)
        skips = metadata.sequence > head.sequence + 1
        if skips:
            name = pipeline.due_now(metadata.next_stage or "")
            following = pipeline.stages[name] if name else None
        routed = push = bid = None
        if following is not None:
            routed = self._runtime.routing.next(pipeline.name, following, head.run_priority)
            bid = burst.bid_onward(place, head, routed) if burst else None
        if routed is not None and bid is None:
            due = Step(
                head.run_id, metadata.sequence, routed.stage, metadata.timeline, metadata.lane
            )
            push = self._runtime.dispatch.render(pipeline.name, due, routed.queue, routed.priority)
        changes = place.changes
        if adopted:
            lost = added(read_amounts(head.spent_wasted), wasted or {})
            left = {unit: lost[unit] - metadata.cost.get(unit, 0) for unit in lost}
            positive = {unit: amount for unit, amount in left.items() if amount > 0}
            changes = {**changes, "spent_wasted": write_amounts(positive)}
            if metadata.token > claim.token:
                # The run store went back: tokens go on above all that were seen.
                changes["token"] = metadata.token
        if skips:
            names = [*pipeline.stages]
            done = names.index(following.name) if following else head.stages_total
            changes = {**changes, "stages_done": done}
        commit = Commit(
            checkpoint_id=metadata.checkpoint_id,
            path=metadata.key.path,
            sequence=metadata.sequence,
            timeline=metadata.timeline,
            following=routed,
            status=(
                RunStatus.CANCELLED if metadata.status is Status.CANCELLED else RunStatus.COMPLETED
            ),
            record=record if self._runtime.log_in_runs else None,
            push=push,
            spent=write_amounts(metadata.cost),
            size_bytes=record.size_bytes if record else 0,
            changes=changes,
            bid=bid,
        )
        outcome = self._patiently(self._runs.advance, claim, commit)
        if burst is not None and isinstance(outcome, Claim):
            burst.win(replace(outcome, record=record))
        elif outcome is not Advance.ADVANCED:
            if commit.record is not None:
                self._runtime.checkpoints.drop_pieces(commit.record)
            logger.warning(
                "Run %s: the result of stage %s was refused (%s).",
                head.run_id,
                place.stage.name,
                outcome,
            )
            return str(outcome)
        self._reach("advanced", head.step)
        if record is not None:
            self._runtime.observers.committed(head, place.stage.name, record.size_bytes)
        self._runtime.thin(place.pipeline, metadata)
        how = "adopted: " if adopted else ""
        if routed is None:
            self._runtime.forget_blobs_later(head.run_id)
            return f"{how}completed"
        if push is None and bid is None:
            after = replace(
                head,
                sequence=metadata.sequence,
                timeline=metadata.timeline,
                stage=routed.stage,
                queue=routed.queue,
                priority=routed.priority,
                published_at=0,
                attempt=0,
            )
            self._runtime.dispatch.publish(after, reach=self._reach)
        return f"{how}advanced to {routed.stage}"
