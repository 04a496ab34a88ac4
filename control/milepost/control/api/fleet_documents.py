"""What the API tells of workers and queues."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from .documents import Document


class WorkerDocument(Document):
    """A worker."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    host: str
    pid: int
    pool: str
    concurrency: int
    queues: tuple[str, ...]
    started_at: int
    """Milliseconds since 1970, as `seen_at`."""
    seen_at: int
    state: Literal["up", "draining", "silent"]
    versions: dict[str, str]
    holding: tuple[str, ...]
    """The runs whose stages it runs."""


class Workers(Document):
    """All workers."""

    items: tuple[WorkerDocument, ...]


class QueueDocument(Document):
    """A queue."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    depth: int | None
    """Messages that wait; None: the broker does not tell."""
    age_seconds: float | None
    """How long the oldest of them has waited."""
    paused: bool
    paused_by: str
    workers: int
    """That take from it."""
    running: int
    """Stages from it that run now."""
    capacity: int
    """How many its workers can run at once."""


class Queues(Document):
    """All queues that stages go to."""

    items: tuple[QueueDocument, ...]
