"""A burst: stages that one task runs one after the other."""

from __future__ import annotations

from .head import Head
from .owner import Owner
from .process import Process
from .runs import Bid, Claim, Next
from .versions import Place


class Burst:
    """The stages that a task goes on with, after the one its message names.

    Each is committed for itself, and claimed in the same step in which the one before it is committed; only
    the message between them is saved. So whoever dies in a burst loses no more than the stage that runs.

    The task goes on only where that changes nothing but the speed: its time slice is not used up, the
    worker is not told to stop, the next message would go to the same queue with the same priority, and no
    time limit or rate limit is set, which Celery applies to tasks.

    Dying in it, or closing it, costs no more than the next heartbeat: what was bid for is freed.
    """

    def __init__(self, owner: Owner, process: Process) -> None:
        self._owner = owner
        self._process = process
        self._began = self._process.monotonic()
        self.bid = owner.bid()
        """For the stage that runs; the heartbeat names it."""
        self._onward: Bid | None = None
        self._won: Claim | None = None

    def bid_onward(self, place: Place, head: Head, following: Next) -> Bid | None:
        """Return a bid for the stage that follows the one of *head*; None: it goes onto its queue."""
        pipeline, limited = place.pipeline, head.time_limit_ms or following.time_limit_ms
        if (
            not pipeline.burst_seconds
            or self._process.monotonic() - self._began >= pipeline.burst_seconds
            or (head.queue, head.priority) != (following.queue, following.priority)
            or limited
            or pipeline.stages[following.stage].options.rate_limit
            or self._owner.stopping
        ):
            return None
        self._onward = self._owner.bid()
        return self._onward

    def win(self, claim: Claim) -> None:
        """Take the claim that the commit gave to the bid."""
        self._won = claim

    def turn(self) -> Claim | None:
        """Return the claim to go on with; None: the burst is over."""
        claim, self._won = self._won, None
        if claim is not None and self._onward is not None:
            self._owner.drop(self.bid)
            self.bid, self._onward = self._onward, None
            self._owner.confirm(self.bid)
        return claim

    def close(self) -> None:
        """Stop naming what was bid for."""
        self._owner.drop(self.bid)
        if self._onward is not None:
            self._owner.drop(self._onward)
