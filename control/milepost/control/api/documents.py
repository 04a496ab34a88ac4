"""What the API answers with. Needs neither server nor client libraries: both sides share it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from milepost.checkpointing import CheckpointMetadata
from milepost.tasks import Head, RunStatus, Summary
from milepost.tasks.runs.listing import ErrorGroup
from milepost.tasks.runs.registry import Note
from milepost.tasks.spent import read_amounts

from .keys import Key, Scope

Status = Literal[
    "queued", "running", "scheduled", "paused", "cancelling", "redirecting", "deleting", "completed",
    "failed", "cancelled",
]  # fmt: skip
Amounts = Mapping[str, float]
Whole = Annotated[int, Field(ge=0)]


class Document(BaseModel):
    """A part of an answer. Fields of a later release are passed over by clients."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class ProgressDocument(Document):
    """How far the loop of the stage due has come."""

    done: int
    total: int | None = None


class ErrorDocument(Document):
    """Why the stage due failed, or the run stands still."""

    type: str
    message: str
    stage: str = ""
    group: str = ""
    """What it shares with failures of the same cause."""
    traceback: str | None = None
    """Only where one run is asked for."""


class SpentDocument(Document):
    """What the stages reported, by unit."""

    useful: Amounts
    wasted: Amounts


class RunDocument(Document):
    """A run. Times are UTC, by the store's clock."""

    run_id: str = Field(examples=["flights-2013"])
    pipeline: str = Field(examples=["flights"])
    version: str
    status: Status
    ended: bool
    """Whether nothing more happens by itself."""
    pausing: bool
    """Whether it will be paused when its stage is done."""
    stage: str
    """The stage due; empty when the run has ended well."""
    stages_done: Whole
    stages_total: Whole
    progress: ProgressDocument | None
    queue: str
    worker: str
    """Who runs the stage, or ran it last."""
    tags: tuple[str, ...]
    tenant: str
    origin: str
    """The run and checkpoint it was forked from."""
    priority: int | None
    """In place of those of the stages."""
    attempt: Whole
    """Of the stage due."""
    failures: Whole
    crashes: Whole
    error: ErrorDocument | None
    budget: Amounts
    spent: SpentDocument
    timeline: Whole
    sequence: Whole
    checkpoint_id: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, head: Head, *, traceback: bool = False) -> RunDocument:
        """Describe a run; the traceback of its error only if asked for, because it is long."""
        spent, progress, failure = head.spent, head.stage_progress, head.failure
        # The parts are ours: nothing is gained by looking at them again.
        return cls.model_construct(
            run_id=head.run_id,
            pipeline=head.pipeline,
            version=head.version,
            status=head.status.value,
            ended=head.status.ended,
            pausing=bool(head.pause) and head.status is RunStatus.RUNNING,
            stage=head.stage,
            stages_done=head.stages_done,
            stages_total=head.stages_total,
            progress=None
            if progress is None
            else ProgressDocument.model_construct(done=progress[0], total=progress[1]),
            queue=head.queue,
            worker=head.worker,
            tags=head.tags,
            tenant=head.tenant,
            origin=head.origin,
            priority=int(head.run_priority) if head.run_priority else None,
            attempt=head.attempt,
            failures=head.failures,
            crashes=head.crashes + head.suspicions,
            error=None if failure is None else _error(failure, traceback),
            budget=read_amounts(head.budget),
            spent=SpentDocument.model_construct(useful=spent.useful, wasted=spent.wasted),
            timeline=head.timeline,
            sequence=head.sequence,
            checkpoint_id=head.checkpoint_id,
            created_at=head.created,
            updated_at=_time(head.updated_at) or head.created,
            finished_at=_time(head.finished_at),
        )


class RunsPage(Document):
    """Some runs, youngest first."""

    items: tuple[RunDocument, ...]
    cursor: str | None = None
    """Where the next page begins; None: this was the last."""


class StartedRun(Document):
    """What became of one run of a batch."""

    run_id: str
    outcome: Literal["created", "existing", "refused"]
    error: str | None = None


class Batch(Document):
    """What became of the runs of a batch, in their order."""

    runs: tuple[StartedRun, ...]


class StageDocument(Document):
    """A stage of a pipeline."""

    name: str
    queue: str | None
    timeout_seconds: float | None
    attempts: int


class PipelineDocument(Document):
    """A pipeline that can be started here, in its highest version."""

    name: str
    version: str
    stages: tuple[StageDocument, ...]
    state: dict[str, Any] | None
    """The JSON schema of the state it starts with; None: any JSON."""


class Pipelines(Document):
    """The pipelines that can be started here."""

    items: tuple[PipelineDocument, ...]


class StateDocument(Document):
    """What a run has come to."""

    run_id: str
    status: Status
    checkpoint_id: str
    stage: str | None
    """The stage that gave the state; None: it is the input."""
    state: Any


class CheckpointsPage(Document):
    """Some checkpoints of a run, the last one first."""

    items: tuple[CheckpointMetadata, ...]
    cursor: str | None = None


class CheckpointDocument(Document):
    """One checkpoint."""

    metadata: CheckpointMetadata
    state: Any = None
    messages: tuple[Any, ...] = ()
    tool_calls: tuple[Any, ...] = ()
    context: dict[str, Any] = Field(default_factory=dict)


class NoteDocument(Document):
    """That somebody did something."""

    run_id: str
    """Empty if it is about no run in particular."""
    by: str
    command: str
    detail: str
    at: datetime

    @classmethod
    def of(cls, note: Note) -> NoteDocument:
        """Describe a note."""
        at = datetime.fromtimestamp(note.at / 1000, UTC)
        return cls(run_id=note.run_id, by=note.by, command=note.command, detail=note.detail, at=at)


class Notes(Document):
    """Who did what, newest first."""

    items: tuple[NoteDocument, ...]


class BulkDocument(Document):
    """What became of a bulk command."""

    command: str
    found: Whole
    """Runs that the query found and whose status allows the command."""
    done: Whole
    """Runs on which it was done, or would be."""
    refused: Mapping[str, int]
    examples: tuple[str, ...]
    run_ids: tuple[str, ...]
    """The first thousand on which it was done."""
    dry_run: bool
    complete: bool
    """Whether all were come to; if not, time was up, and the same request again does the rest."""

    @classmethod
    def of(cls, summary: Summary, *, complete: bool) -> BulkDocument:
        """Describe a summary."""
        return cls(
            command=summary.command,
            found=summary.found,
            done=summary.done,
            refused=dict(summary.refused),
            examples=tuple(summary.examples),
            run_ids=tuple(summary.run_ids),
            dry_run=summary.dry_run,
            complete=complete,
        )


class GroupDocument(Document):
    """Runs that have failed of one cause."""

    group: str
    count: Whole
    first_at: datetime
    last_at: datetime
    example: RunDocument

    @classmethod
    def of(cls, group: ErrorGroup) -> GroupDocument:
        """Describe a group."""
        return cls.model_construct(
            group=group.group,
            count=group.count,
            first_at=datetime.fromtimestamp(group.first_at / 1000, UTC),
            last_at=datetime.fromtimestamp(group.last_at / 1000, UTC),
            example=RunDocument.of(group.example, traceback=True),
        )


class Failures(Document):
    """What went wrong: failed runs by cause, and unfinished ones that keep losing their workers."""

    groups: tuple[GroupDocument, ...]
    struggling: tuple[RunDocument, ...]


class KeyDocument(Document):
    """A key, without its secret."""

    id: str
    name: str
    scope: Scope
    tenant: str
    created_at: datetime
    expires_at: datetime | None
    expired: bool

    @classmethod
    def of(cls, key: Key) -> KeyDocument:
        """Describe a key."""
        return cls(
            id=key.id,
            name=key.name,
            scope=key.scope,
            tenant=key.tenant,
            created_at=datetime.fromtimestamp(key.created_at, UTC),
            expires_at=None
            if key.expires_at is None
            else datetime.fromtimestamp(key.expires_at, UTC),
            expired=key.is_expired,
        )


class NewKeyDocument(KeyDocument):
    """A key that was just made, with its text, which is shown this once."""

    key: str


class KeyList(Document):
    """All keys, oldest first."""

    items: tuple[KeyDocument, ...]


class Health(Document):
    """Whether the API is up, or ready."""

    status: Literal["ok"]


class ProblemDocument(Document):
    """What went wrong, as RFC 9457 has it; `type` stays the same, and the documentation lists them."""

    type: str
    title: str
    status: int
    detail: str


def _error(failure: Mapping[str, Any], traceback: bool) -> ErrorDocument:
    trace = failure.get("traceback") if traceback else None
    return ErrorDocument.model_construct(
        type=str(failure.get("type", "")),
        message=str(failure.get("message", "")),
        stage=str(failure.get("stage", "")),
        group=str(failure.get("group", "")),
        traceback=None if trace is None else str(trace),
    )


def _time(milliseconds: int) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
