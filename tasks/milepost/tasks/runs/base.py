"""The contract of a run store; `milepost.tasks.testing` has the suite that proves it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from milepost.checkpointing import AlreadyExists, CheckpointStore, Record

from ..head import Head, RunStatus, Step
from .listing import RunListing
from .registry import Registry

BUDGET_CALLS_KEPT = 8
"""How many replacements of a budget are known again when they are repeated."""
IDENTITY_KEY = "milepost:identity"
"""Where a Redis keeps the id that tells whether two URLs name the same server and database."""
LEASE_MS = 5_000
"""For how long `RunStore.look` gives a run to who has looked, and to nobody else."""


@dataclass(frozen=True, slots=True)
class Push:
    """A rendered message, and the Redis list it goes to."""

    queue_key: str
    payload: str


@dataclass(frozen=True, slots=True)
class Bid:
    """Who asks for a claim. *nonce* and *ordinal* are new for each; the ordinal counts up."""

    owner: str
    nonce: str
    ordinal: int
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run the stage due. Whoever shows `token` and `nonce` may commit, once."""

    head: Head
    nonce: str
    record: Record | None = None
    """The current checkpoint, where the log lives in the run store's own Redis."""

    @property
    def token(self) -> int:
        """The fencing token."""
        return self.head.token


class Refusal(StrEnum):
    """Why a claim was not given. The message that asked for it has done its duty."""

    UNKNOWN = "unknown"
    FINISHED = "finished"
    PAUSED = "paused"
    STALE = "stale"
    """The run is past this step."""
    AHEAD = "ahead"
    """The run has not come to this step: the store went back in time, or the message is forged."""
    EARLY = "early"
    """The step is due later."""
    DUPLICATE = "duplicate"
    """A living owner runs it."""


@dataclass(frozen=True, slots=True)
class Next:
    """The stage due after a commit, and how its message travels."""

    stage: str
    queue: str
    priority: int = 0
    time_limit_ms: int = 0


def due_fields(following: Next | None, patience_ms: int) -> dict[str, str | int]:
    """Return what a head has of the stage that is due; None: none is."""
    if following is None:
        return {"stage": "", "queue": ""}
    return {
        "stage": following.stage,
        "queue": following.queue,
        "priority": following.priority,
        "time_limit_ms": following.time_limit_ms,
        "patience_ms": patience_ms,
    }


@dataclass(frozen=True, slots=True)
class Commit:
    """What `advance` writes. *following* None ends the run with *status*."""

    checkpoint_id: str
    path: str
    sequence: int
    timeline: int
    following: Next | None = None
    status: RunStatus = RunStatus.COMPLETED
    record: Record | None = None
    """The checkpoint itself, where the log lives in the run store's own Redis."""
    push: Push | None = None
    spent: str = ""
    """What the try has spent in all, as `Head.spent_try` has it."""
    size_bytes: int = 0
    changes: Mapping[str, str | int] = field(default_factory=dict)
    """What else changes in the head: the pipeline, when a later version of it goes on with the run."""
    bid: Bid | None = None
    """Asks for the stage that follows, which then waits for no message; *push* must be None."""


@dataclass(frozen=True, slots=True)
class Intent:
    """The beginning of a cancelling, redirecting or deleting: nobody can claim or commit from here on."""

    checkpoint_id: str
    """Of the checkpoint that will end it; of a deletion, which has none, an id all the same."""
    status: Literal[RunStatus.CANCELLING, RunStatus.REDIRECTING, RunStatus.DELETING]
    allowed: frozenset[RunStatus]
    """From which it may begin."""
    position: tuple[int, int] | None = None
    """Timeline and sequence at which the run has to be; None: wherever it is."""
    seen: Head | None = None
    """Where exactly it has to stand, else `MovedOn` is raised."""


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a run goes on, or ends, when what was intended is written.

    With the checkpoint that the run has already, the intent is taken back.
    """

    checkpoint_id: str
    path: str
    sequence: int
    status: RunStatus
    """Of *following*: queued, scheduled, paused or failed; without it: completed or cancelled."""
    following: Next | None = None
    record: Record | None = None
    """The checkpoint itself, where the log lives in the run store's own Redis."""
    changes: Mapping[str, str | int] = field(default_factory=dict)


def seen_places(seen: Head | None, **after: Any) -> tuple[str, str]:
    """Return where a run has to stand, and where it stands *after* the change was made; empty: anywhere."""
    return ("", "") if seen is None else (seen.place, replace(seen, **after).place)


def paused_places(seen: Head | None) -> tuple[str, str]:
    """Return the places of a run that is to be paused, as `seen_places` does."""
    waits = seen is not None and seen.status in (RunStatus.QUEUED, RunStatus.SCHEDULED)
    return seen_places(seen, pause=1, **({"status": RunStatus.PAUSED} if waits else {}))


class Birth(NamedTuple):
    """What is its own of a run that `create_many` makes."""

    run_id: str
    digest: str
    checkpoint_id: str
    record: Record | None = None
    push: Push | None = None


class Advance(StrEnum):
    """What became of a commit."""

    ADVANCED = "advanced"
    FENCED = "fenced"
    """The claim was lost; nothing was written."""
    OCCUPIED = "occupied"
    """A stray record has the number; nothing was written, the claim still stands."""


@dataclass(frozen=True, slots=True)
class Look:
    """Runs that want a decision, and the newest publication claimed by queue and priority.

    The latter may be half a second older than the newest was.
    """

    heads: tuple[Head, ...]
    newest: dict[tuple[str, int], int]


Cause = Literal["child", "owner", "leaving"]
"""How an owner went: seen dying by its parent; fell silent or died with its parent; was stopping."""


class RunStore(RunListing, Registry):
    """Heads, claims, owners and the due index.

    Every method may be called again after its reply was lost and comes to the same result. Time is
    always the store's. Raises `Unavailable` and `Refused` as checkpoint stores do.

    What takes *seen* changes nothing and raises `MovedOn` if the run stands otherwise (`Head.place`) in the
    step in which it would be changed. A run to which the same was just done stands as it was seen.
    """

    @property
    @abstractmethod
    def location(self) -> str:
        """The URL of the store, without its password."""

    @abstractmethod
    def identity(self) -> str:
        """Return an id that this store has and no other has; asking again gives the same."""

    @abstractmethod
    def holds_log(self, log: CheckpointStore) -> bool:
        """Whether *log* lies in the same place, so that one operation can write both."""

    @abstractmethod
    def create(
        self, head: Head, *, record: Record | None, push: Push | None, delay_ms: int = 0
    ) -> Head | None:
        """Make a run and return None; or return the head that has its id already.

        With *delay_ms* the run is scheduled, and *push* must be None.
        """

    def create_many(
        self, head: Head, births: Sequence[Birth], *, delay_ms: int = 0
    ) -> list[Head | AlreadyExists | None]:
        """Make many runs that are like *head* but for what is their own; each is made for itself.

        Returns for each what `create` would return or raise.
        """
        return [self._born(head, birth, delay_ms) for birth in births]

    def _born(self, head: Head, birth: Birth, delay_ms: int) -> Head | AlreadyExists | None:
        run_id, digest, checkpoint_id, record, push = birth
        own = replace(head, run_id=run_id, digest=digest, checkpoint_id=checkpoint_id)
        try:
            return self.create(own, record=record, push=push, delay_ms=delay_ms)
        except AlreadyExists as error:
            return error

    @abstractmethod
    def claim(self, step: Step, bid: Bid) -> Claim | Refusal:
        """Give the right to run *step*, counting the attempt; or say why not.

        After it returned a claim, the run is frozen for others until the claim is used, given up or
        taken away by `look` or `bury`. If the caller dies in it, the same holds. A suspect on trial is
        not given to a host (``host:pid`` names a worker) that has another suspect on trial.
        """

    @abstractmethod
    def advance(self, claim: Claim, commit: Commit) -> Advance | Claim:
        """Commit the stage: checkpoint, head, claim, due time and message in one step or not at all.

        Returns a claim if *commit* bids for the stage that follows and that is due now; a run that is to
        pause is not.
        """

    @abstractmethod
    def save(self, claim: Claim, *, path: str, progress: str, record: Record | None) -> bool:
        """Note how far the stage has come, and where that is kept; False: fenced, nothing was written."""

    @abstractmethod
    def spend(self, claim: Claim, spent: str, *, kept: bool) -> bool:
        """Note what the try has spent in all, as JSON; False: fenced, nothing was written.

        *kept* says that what it was spent on stands, whatever becomes of the try.
        """

    @abstractmethod
    def fail(self, claim: Claim, error: str, delay_ms: int | None) -> bool:
        """Record a failed try and schedule the next, or set the run aside (None); False: fenced."""

    @abstractmethod
    def hand_back(self, claim: Claim, push: Push | None) -> bool:
        """Give the claim up uncounted and enqueue the stage again; False: fenced."""

    @abstractmethod
    def put_off(
        self, head: Head, *, nonce: str, delay_ms: int | None, error: str, ran: bool
    ) -> bool:
        """Let a run that is queued, or whose claim has *nonce*, wait, for a time or paused; *error* says why.

        None of it counts as a failure; as an attempt only if the stage *ran*. False: the run is no longer
        as *head* says, and nothing was done.
        """

    @abstractmethod
    def set_budget(self, head: Head, budget: str, call: str, *, seen: Head | None = None) -> bool:
        """Replace the budget that *head* has; False: it was replaced meanwhile, be it by an equal one.

        *call* is an id that each replacement has for itself; the store knows the last few again.
        """

    @abstractmethod
    def divert(self, claim: Claim) -> int | None:
        """Open a new timeline for the claim's holder and return its number; None: fenced."""

    @abstractmethod
    def beat(self, owner: str, held: Collection[str], as_of: int, *, leaving: bool) -> set[str]:
        """Keep *owner* alive and return which of the nonces in *held* it has lost.

        Claims of the owner with an ordinal up to *as_of* that *held* does not name are freed.
        """

    @abstractmethod
    def bury(self, owner: str, cause: Cause) -> list[str]:
        """Free all that *owner* held, count why, and return the run ids."""

    @abstractmethod
    def look(self, limit: int = 100) -> Look:
        """Return runs that want a decision, each leased for `LEASE_MS` against other lookers.

        On the way: owners that fell silent are buried, stages past their deadline lose their claim,
        scheduled runs whose time has come are queued. After a time in which nobody looked, each owner
        gets another lapse to be heard of, once.
        """

    @abstractmethod
    def requeue(self, head: Head, *, push: Push | None, published: bool, patience_ms: int) -> bool:
        """Note that the message was published (now by *push*, or just before), or look again later.

        False: the run is no longer as *head* says, and nothing was done.
        """

    @abstractmethod
    def mark(self, head: Head) -> bool:
        """Note that the log, which is elsewhere, knows that the run has failed or is paused.

        Until then looks return it. False: it is no longer as *head* says.
        """

    @abstractmethod
    def unmark(self, head: Head) -> bool:
        """Let looks return the run again that stands still, in a moment; False: it is as *head* no longer."""

    @abstractmethod
    def reinstate(self, head: Head, delay_ms: int = 0) -> bool:
        """Make a head that was rebuilt from the log, in its status; False: there is another already.

        A scheduled one is due after *delay_ms*.
        """

    @abstractmethod
    def pause(self, run_id: str, *, seen: Head | None = None) -> RunStatus | None:
        """Stop the run before its next stage; returns its status then, None: unknown run."""

    @abstractmethod
    def resume(self, head: Head, *, seen: Head | None = None) -> bool:
        """Let a failed, paused or scheduled run move; False: its status is not *head*'s any more.

        The caller publishes then. A failed run goes on in a new timeline with its counts at zero.
        """

    @abstractmethod
    def intend(self, run_id: str, intent: Intent) -> tuple[bool, RunStatus | None]:
        """Begin to cancel, redirect or delete: timeline and token rise, the claim is worth nothing any more.

        Returns whether it has begun, and the status before, or the one that forbids it; None: unknown run.
        """

    @abstractmethod
    def settle(self, head: Head, landing: Landing) -> bool:
        """End what *head* intends; False: it was not under way.

        The caller publishes if the run is queued then.
        """

    @abstractmethod
    def delete(self, head: Head) -> bool:
        """End the deletion that *head* intends: forget the run, and its log if that lies in the same place.

        False: it was not under way; there may be another run of that id.
        """

    @abstractmethod
    def get(self, run_id: str) -> Head | None:
        """Return the head of a run."""

    def get_many(self, run_ids: Sequence[str]) -> list[Head | None]:
        """Return the heads of runs in their order; None: there is none."""
        return [self.get(run_id) for run_id in run_ids]

    def close(self) -> None:
        """Give back connections. Closing twice is harmless."""
        return
