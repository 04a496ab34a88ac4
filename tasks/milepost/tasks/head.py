"""The head of a run: its current record in the run store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from milepost.checkpointing import CheckpointKey

from .spent import Spent, read_amounts


class RunStatus(StrEnum):
    """Where a run stands.

    queued → running → queued (next stage) … → completed; running → scheduled (to be tried again) →
    queued; running → failed (a dead letter). A run that has not ended can be paused and cancelled;
    a failed one can be retried. Milepost itself pauses a run that is out of budget, or whose stage due is
    not in the code any more; its `Head.failure` says which.
    """

    QUEUED = "queued"
    RUNNING = "running"
    SCHEDULED = "scheduled"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    REDIRECTING = "redirecting"
    """An operator's rewind, skip or edit is being written."""
    DELETING = "deleting"
    """The run and its log are being removed."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in _ENDED


AT_REST = (RunStatus.FAILED, RunStatus.PAUSED)
"""In which a run stands still until somebody decides something."""
UNDER_WAY = (RunStatus.CANCELLING, RunStatus.REDIRECTING, RunStatus.DELETING)
"""In which somebody does something to a run that the reconciler ends if they die."""
_ENDED = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})


@dataclass(frozen=True, slots=True)
class Step:
    """The stage due: what a message names, and what a claim must match in every part."""

    run_id: str
    sequence: int
    stage: str
    timeline: int = 0
    lane: str = "main"


@dataclass(frozen=True, slots=True)
class Head:
    """A run's current record. Times are milliseconds of the store's clock (`created_at`: micro-)."""

    run_id: str
    pipeline: str
    version: str
    digest: str
    """Of pipeline and input; tells a repeated start from a conflicting one."""
    stages_total: int
    fingerprint: str = ""
    """Of the pipeline's stages and what they take and give, as they were at the last commit."""
    plan: str = ""
    """The names of those stages in their order, as JSON."""
    trace: str = ""
    """The W3C ``traceparent`` of the run's start; empty if nobody traced it."""
    status: RunStatus = RunStatus.QUEUED
    tags: tuple[str, ...] = ()
    tenant: str = ""
    """On whose behalf it was started; empty: nobody's in particular."""
    run_priority: str = ""
    """The priority that its start asked for, in place of those of the stages; empty: theirs."""
    origin: str = ""
    """The run and checkpoint it was forked from, as ``run id/checkpoint id``."""

    timeline: int = 0
    lane: str = "main"
    sequence: int = 0
    checkpoint_id: str = ""
    at: str = ""
    """Path of the current checkpoint; its timeline may be older than the one written to next."""
    stage: str = ""
    """The stage due; empty when the run has ended well."""
    queue: str = ""
    priority: int = 0
    time_limit_ms: int = 0
    stages_done: int = 0

    token: int = 0
    owner: str = ""
    nonce: str = ""
    ordinal: int = 0
    """Of the claim's bid; in Redis it stands beside the head."""
    last_nonce: str = ""
    worker: str = ""
    """Who holds the claim, or held it last: for people."""
    claimed_at: int = 0
    deadline: int = 0
    attempt: int = 0
    tries: int = 0
    """Attempts of all stages together."""
    failures: int = 0
    crashes: int = 0
    suspicions: int = 0
    trial: int = 0
    last_cause: str = ""
    error: str = ""
    """The last failure as JSON (`type`, `message`, `stage`, `traceback`); empty if none."""

    progress_at: str = ""
    """Path of what the stage due has saved of itself; empty if nothing."""
    progress: str = ""
    """How far it has come, as JSON: done, and of how many if that is known."""

    budget: str = ""
    """What the run may spend, as JSON: a limit by unit; empty: whatever it takes."""
    budget_calls: str = ""
    """The ids of the calls that replaced it last, the last first."""
    spent_try: str = ""
    """What the claim's holder has reported, as JSON: an amount by unit."""
    spent_kept: str = ""
    """How much of that stood when it last kept something that no other try does again."""
    spent_useful: str = ""
    spent_wasted: str = ""
    kept_at: int = 0
    """When the claim's holder last kept something; 0: not yet."""
    worked_ms: int = 0
    wasted_ms: int = 0
    written_bytes: int = 0
    """Of the commits, as they are stored."""

    log_elsewhere: int = 0
    """Whether the log survives the loss of the run store, and is told what the run store alone knows."""
    marked: str = ""
    """The status of which it was told."""

    published_at: int = 0
    """When the message of the stage due was pushed; 0: not known to be on the queue."""
    patience_ms: int = 0
    pause: int = 0
    intent: str = ""
    """The id of the checkpoint with which the run is being cancelled or redirected."""
    status_before: str = ""
    """In which the run was when that began."""
    due_before: int = 0
    """When it was to be looked at then."""
    created_at: int = 0
    updated_at: int = 0
    finished_at: int = 0

    @property
    def step(self) -> Step:
        """The step due."""
        return Step(self.run_id, self.sequence, self.stage, self.timeline, self.lane)

    @property
    def place(self) -> str:
        """Where the run stands: another as soon as anything but progress has happened to it."""
        place = (
            self.created_at, self.timeline, self.sequence, self.token, self.attempt, self.pause,
            self.status,
        )  # fmt: skip
        return ".".join(map(str, place))

    @property
    def key(self) -> CheckpointKey:
        """The key of the current checkpoint."""
        return CheckpointKey.from_path(self.run_id, self.at)

    @property
    def failure(self) -> dict[str, Any] | None:
        """The last failure of the stage due, or why the run was set aside."""
        return json.loads(self.error) if self.error else None

    @property
    def error_group(self) -> str:
        """The fingerprint that its failure shares with failures of the same cause; empty if not failed."""
        if self.status is not RunStatus.FAILED:
            return ""
        return str((self.failure or {}).get("group", ""))

    @property
    def recovered_from(self) -> str:
        """How the try before this one was lost (child, owner, timeout, leak, leaving); empty: it was not."""
        return self.last_cause if self.attempt > 1 else ""

    @property
    def is_parked(self) -> bool:
        """Whether Milepost itself has paused the run, which goes on when somebody has decided something."""
        return self.status is RunStatus.PAUSED and (self.failure or {}).get("type") in _PARKING

    @property
    def stage_progress(self) -> tuple[int, int | None] | None:
        """How far the loop of the stage due has come, and of how many if that is known; None: no idea."""
        if not self.progress:
            return None
        done, total = json.loads(self.progress)
        return done, total

    @property
    def spent(self) -> Spent:
        """What all tries have spent, up to the last that ended."""
        return Spent(
            useful=read_amounts(self.spent_useful) | {"seconds": self.worked_ms / 1000},
            wasted=read_amounts(self.spent_wasted) | {"seconds": self.wasted_ms / 1000},
        )

    @property
    def created(self) -> datetime:
        """When the run was started."""
        return datetime.fromtimestamp(self.created_at / 1e6, UTC)

    def to_fields(self) -> dict[str, str]:
        """Write the head as the flat strings a store keeps."""
        return {
            field.name: json.dumps(value) if isinstance(value, tuple) else str(value)
            for field in fields(self)
            for value in (getattr(self, field.name),)
        }

    @classmethod
    def from_fields(cls, raw: Iterable[tuple[bytes, bytes]]) -> Head:
        """Read what `to_fields` wrote; fields of a newer release are passed over, and empty ones."""
        values = {_NAMES[name]: _READ[name](text) for name, text in raw if text and name in _NAMES}
        values.setdefault("digest", "")
        return cls(**values)


def _tags(text: bytes) -> tuple[str, ...]:
    return () if text == b"[]" else tuple(json.loads(text))


_PARKING = frozenset({"BudgetExceeded", "StageGone", "StagesReordered"})
_STATUSES = {status.encode(): status for status in RunStatus}
_NAMES = {field.name.encode(): field.name for field in fields(Head)}
_READ: dict[bytes, Callable[[bytes], Any]] = {
    field.name.encode(): int if field.type == "int" else bytes.decode for field in fields(Head)
} | {b"status": _STATUSES.__getitem__, b"tags": _tags}

FACTS = (
    "digest", "tenant", "run_priority", "origin", "budget", "plan", "fingerprint", "tries", "spent_useful",
    "spent_wasted", "worked_ms", "wasted_ms", "written_bytes", "trace",
)  # fmt: skip
"""What of a head nothing in the log tells but its checkpoints' own word."""
NOT_BEFORE = "not_before"
"""Of a checkpoint 0: when the run is to begin, in milliseconds of the clock of who started it."""


def with_facts(head: Head, facts: dict[str, str]) -> Head:
    """Return *head* with what a checkpoint says of it; what cannot be read is passed over."""
    known = {name: text for name, text in facts.items() if name in FACTS}
    read = {}
    for name, text in known.items():
        with suppress(ValueError):
            read[name] = _READ[name.encode()](text.encode())
    return replace(head, **read)
