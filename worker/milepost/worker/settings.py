"""Settings of the room, read from ``MILEPOST_…`` variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from milepost.checkpointing.environment import Environment


class WorkerSettings(Environment):
    """How a worker looks after runs, and how it stops."""

    reconcile_seconds: float = Field(default=1.0, gt=0)
    """How often each worker looks for runs that should be moving."""

    neighbour_seconds: float = Field(default=0.2, gt=0)
    """How often a worker asks whether a process of its host has died."""

    grace_seconds: float = Field(default=25.0, ge=0)
    """How long stages may go on after SIGTERM before they are handed back and the worker ends. Keep it
    below what the supervisor waits before SIGKILL: Kubernetes 30 s, systemd 90 s, Docker 10 s."""

    event_flush_seconds: float = Field(default=0.5, gt=0)
    """How long task events are gathered before they go to Flower in one message."""

    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Where ``/metrics``, ``/healthz`` and ``/readyz`` of this worker are served; without it, nowhere, and
    nothing is counted."""

    metrics_host: str = "127.0.0.1"
    """The address of that port. What is served there is open to whoever reaches it."""

    log_format: Literal["text", "json"] = "text"
    """How a worker logs: as Celery does, or one JSON object a line."""

    home: Path = Path(".milepost")
    """Where the embedded server keeps its data."""

    forget_worker_seconds: float = Field(default=300.0, gt=0)
    """How long a worker that fell silent is still shown."""
