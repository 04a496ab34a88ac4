"""What is known of runs as long as the stores know it, too."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from milepost.checkpointing import CheckpointMetadata


class Place(NamedTuple):
    """A stage, by its first name, on the checkpoint it works on."""

    checkpoint_id: str
    stage: str


@dataclass(frozen=True, slots=True)
class Written:
    """A commit."""

    metadata: CheckpointMetadata
    state: Any


@dataclass(frozen=True, slots=True)
class Given:
    """A claim, and when it was given."""

    order: int
    run_id: str
    checkpoint_id: str
    timeline: int
    token: int
    attempt: int
    process: str


@dataclass
class Facts:
    """By what is compared: orders are counts of the witness."""

    log: dict[tuple[str, str], tuple[bytes, bytes]] = field(default_factory=dict)
    """Header and body of each record that stands, by run and path."""
    written: dict[tuple[str, str, int], tuple[int, str, str | None]] = field(default_factory=dict)
    """When a stage's commit was written, and as it calls it the stage and the one due behind it: by
    checkpoint, stage and timeline."""
    kept: dict[Place, int] = field(default_factory=dict)
    """When the result of a stage's effect was kept."""
    committed: dict[Place, int] = field(default_factory=dict)
    """When a stage's commit became the head."""
    claims: dict[str, Given] = field(default_factory=dict)
    """By nonce."""
    tokens: dict[str, int] = field(default_factory=dict)
    """The highest of each run."""
    deaths: dict[str, int] = field(default_factory=dict)
    """How often a run has lost its holder at the stage due."""
    journal: dict[tuple[str, str], Place] = field(default_factory=dict)
    """Of which stage a record of a journal is."""
    commits: dict[tuple[str, str], tuple[str, str, int]] = field(default_factory=dict)
    """The same of commits, with their timeline."""

    def copied(self) -> Facts:
        """Return the same facts, to stay as they are."""
        return Facts(**{f.name: copy(getattr(self, f.name)) for f in fields(self)})

    def went_back(self, to: Facts, *, log_too: bool) -> Facts:
        """Return what is left when the run store goes back, and the log with it or not."""
        back = to.copied()
        if not log_too:
            back.log, back.written, back.kept = self.log, self.written, self.kept
            back.journal, back.commits = self.journal, self.commits
        return back
