"""A checkpoint, its metadata and its key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
)

from .errors import CheckpointError, Corrupt
from .ids import new_checkpoint_id
from .manifest import Manifest
from .types import Types

MAIN_LANE = "main"
_PARTS = ("state", "messages", "tool_calls", "context")
_PATH = re.compile(r"([a-z]+)/([A-Za-z0-9._-]+)/([0-9a-f]{8})\.([0-9a-f]{8})")


class Kind(StrEnum):
    """Who wrote a checkpoint, and so which series of numbers it belongs to.

    Only the engine writes commits: one after each stage. Checkpoints that people and programs make
    stand beside them in a series of their own, so that they can never be taken for a commit.
    """

    COMMIT = "commit"
    MANUAL = "manual"
    PROGRESS = "progress"
    """How far a stage that still runs has come; its timeline is the fencing token."""
    JOURNAL = "journal"
    """What a stage does once: the lane is the name of the effect."""
    BLOB = "blob"
    """A part of what is too large for one record; the lane is of its writer and the digest of its content."""
    MARKER = "marker"
    """That a run was paused or set aside, or was resumed, since the commit it has for parent."""
    THREAD = "thread"
    """A checkpoint of another system's, behind an adapter."""


SNAPSHOTS = (Kind.COMMIT, Kind.MANUAL)
"""The kinds that a run can go on from; the others are a stage's own."""


class Status(StrEnum):
    """What the run was doing when the checkpoint was written."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class CheckpointKey(NamedTuple):
    """Where a checkpoint stands: (run, kind, lane, timeline, sequence) is written at most once.

    A timeline is one history of a run; rewinding, retrying or cancelling opens the next. Lanes are
    for parallel branches; a straight pipeline has the one lane ``main``.
    """

    run_id: str
    sequence: int
    timeline: int = 0
    kind: Kind = Kind.COMMIT
    lane: str = MAIN_LANE

    @property
    def series(self) -> str:
        """The part of the path that all checkpoints of one kind and lane share."""
        return f"{self.kind}/{self.lane}/"

    @property
    def path(self) -> str:
        """The key below its run; within a series the order of paths is the order of writing."""
        return f"{self.series}{self.timeline:08x}.{self.sequence:08x}"

    @classmethod
    def from_path(cls, run_id: str, path: str) -> CheckpointKey:
        """Read what `path` wrote.

        Raises:
            CheckpointError: *path* has another shape.
        """
        found = _PATH.fullmatch(path)
        if found is None or found[1] not in set(Kind):
            raise CheckpointError(f"{path!r} is no path of a checkpoint.", run_id=run_id)
        return cls(run_id, int(found[4], 16), int(found[3], 16), Kind(found[1]), found[2])


def _writable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


class CheckpointMetadata(BaseModel):
    """What is known of a checkpoint without reading its state.

    Fields of a later release are passed over, so that workers can be upgraded one by one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    run_id: str
    sequence: int = Field(ge=0, lt=1 << 32)
    timeline: int = Field(default=0, ge=0, lt=1 << 32)
    kind: Kind = Kind.COMMIT
    lane: str = MAIN_LANE
    checkpoint_id: str = Field(default_factory=new_checkpoint_id)
    parent: str | None = None
    """The `checkpoint_id` this one continues from; None for the first."""
    status: Status = Status.RUNNING
    stage: str | None = None
    """The stage that produced the state; None for the input."""
    next_stage: str | None = None
    attempt: int = Field(default=1, ge=1)
    """Which try of the stage succeeded, from 1."""
    token: int = Field(default=0, ge=0)
    """The fencing token of the claim that wrote it."""
    pipeline: str | None = None
    pipeline_version: str | None = None
    tags: tuple[str, ...] = ()
    cost: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Spent on this stage, by unit (``usd``, ``tokens_in``, …)."""
    worker: str | None = None
    started_at: AwareDatetime | None = None
    """When the try began, by the worker's clock."""
    created_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    """By the clock of the process that wrote it: for people; nothing is decided by it."""
    expires_at: AwareDatetime | None = None
    error: Annotated[str, AfterValidator(_writable)] | None = None
    facts: dict[str, str] | None = None
    """What nothing else tells of a run whose run store is lost."""
    note: str | None = None
    """What an operator did to come here: rewound, skipped, edited, forked; None: a stage's own work."""

    @property
    def key(self) -> CheckpointKey:
        """Where the checkpoint stands."""
        return CheckpointKey(self.run_id, self.sequence, self.timeline, self.kind, self.lane)

    @property
    def step_name(self) -> str | None:
        """The stage, by the name that `CheckpointManager.create` has for it."""
        return self.stage

    @property
    def ttl_seconds(self) -> float | None:
        """The time to live, from its creation; None: for ever."""
        if self.expires_at is None:
            return None
        return (self.expires_at - self.created_at).total_seconds()

    @property
    def is_expired(self) -> bool:
        """Whether the time to live is over, by this process's clock."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


class Checkpoint(BaseModel):
    """An immutable snapshot of a run: what the next stage needs, and how it came about.

    `state` is the pipeline's own model or JSON. `messages`, `tool_calls` and `context` are JSON
    beside it, for agent-like pipelines.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metadata: CheckpointMetadata
    state: Any = None
    messages: list[Any] = Field(default_factory=list)
    tool_calls: list[Any] = Field(default_factory=list)
    context: dict[str, Any] = Field(default_factory=dict)
    # No private attribute of pydantic's: those cost each checkpoint ten microseconds.
    __slots__ = ("_manifest",)

    @property
    def manifest(self) -> Manifest | None:
        """Of which pieces it was read; None if it is one record."""
        manifest: Manifest | None = getattr(self, "_manifest", None)
        return manifest

    def __eq__(self, other: object) -> bool:
        # How it is stored makes no difference.
        return isinstance(other, Checkpoint) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    @property
    def run_id(self) -> str:
        """The run it belongs to."""
        return self.metadata.run_id

    @property
    def checkpoint_id(self) -> str:
        """Its id."""
        return self.metadata.checkpoint_id

    def to_dict(self, types: Types | None = None) -> dict[str, Any]:
        """Return it as what JSON can hold, for programs other than Milepost.

        Args:
            types: What the state may hold beside JSON; by default the built-in types.

        Raises:
            NotSerializable: A value is of no known type.
        """
        table = types or Types()
        parts = {name: table.flatten(getattr(self, name), name) for name in _PARTS}
        return {"metadata": self.metadata.model_dump(mode="json", exclude_none=True), **parts}

    def to_json(self, types: Types | None = None) -> str:
        """Return what `to_dict` does, as text."""
        return json.dumps(self.to_dict(types), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], types: Types | None = None) -> Checkpoint:
        """Read what `to_dict` wrote; a state of a model comes back as a dict.

        Raises:
            Corrupt: It is none.
        """
        table = types or Types()
        try:
            metadata = CheckpointMetadata.model_validate_json(json.dumps(data["metadata"]))
            return cls(metadata=metadata, **{name: table.revive(data[name]) for name in _PARTS})
        except (KeyError, TypeError, ValueError) as error:
            raise Corrupt(f"This is no checkpoint: {error}") from error

    @classmethod
    def from_json(cls, text: str | bytes, types: Types | None = None) -> Checkpoint:
        """Read what `to_json` wrote; raises as `from_dict` does."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise Corrupt(f"This is no checkpoint: {error}") from error
        return cls.from_dict(data, types)


@dataclass(frozen=True, slots=True)
class Record:
    """A checkpoint as stores keep it: two byte strings under a key.

    `header` holds the metadata and proves `body`; `body` holds everything else. Stores keep the two
    apart, or together for `envelope.split` to cut, and must return them unchanged.
    """

    key: CheckpointKey
    header: bytes
    body: bytes
    pieces: tuple[Record, ...] = field(default=(), compare=False, repr=False)
    """What has to be written before it; `CheckpointManager.put` does, stores do not see it."""
    manifest: Manifest | None = field(default=None, compare=False, repr=False)

    @property
    def size_bytes(self) -> int:
        """What it takes, with the pieces that come with it."""
        return len(self.header) + len(self.body) + sum(piece.size_bytes for piece in self.pieces)
