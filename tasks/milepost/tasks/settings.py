"""Settings of the room, read from ``MILEPOST_…`` variables."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir

from pydantic import Field

from milepost.checkpointing import CheckpointSettings


class TaskSettings(CheckpointSettings):
    """Where runs are kept and how their liveness is judged."""

    url: str | None = None
    """Broker and run store of ``Milepost()``; without it the embedded server is used."""

    runs: str | None = None
    """The run store; by default the broker, where that is Redis."""

    checkpoints: str | None = None
    """The checkpoint store; by default the run store's Redis or database."""

    actor: str | None = None
    """In whose name commands on runs are noted; by default user and host."""

    heartbeat_lapse_seconds: float = Field(default=10.0, ge=2.0)
    """How long after its last heartbeat a process counts as gone; it sends three in that time."""

    max_crashes: int = Field(default=3, ge=1)
    """How often a stage may kill its own process without progress before the run is set aside. When whole
    workers die, that may be a neighbour's doing: then it is tried alone among its like, and set aside
    after more than twice as many deaths."""

    patience_seconds: float = Field(default=2.0, gt=0)
    """How long a published message may wait unclaimed before the reconciler asks whether it is lost.
    Doubles at each look that finds a reason to wait."""

    patience_cap_seconds: float = Field(default=300.0, gt=0)
    """The longest that doubling may get: so long at most does a lost message stay unnoticed."""

    commit_patience_seconds: float = Field(default=60.0, ge=0)
    """How long a finished stage keeps trying to commit while the stores do not answer."""

    deploy_seconds: float = Field(default=300.0, ge=0)
    """How long a run waits for a worker that knows its stage due, before it is paused."""

    retention_seconds: float = Field(default=7 * 86400.0, ge=0)
    """How long completed and cancelled runs are kept; 0: for good. Failed runs are kept until they
    are retried or deleted. Applies to logs in the run store's own Redis or database; elsewhere, use the
    store's rules."""

    lock_directory: Path = Path(gettempdir())
    """Where processes of one host prove to each other that they live."""
