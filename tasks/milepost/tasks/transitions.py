"""Which command a run takes in which status: the one table that people, stores and documents go by."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from .head import UNDER_WAY, RunStatus


class Command(StrEnum):
    """What can be done to a run that is there."""

    RETRY = "retry"
    RESUME = "resume"
    PAUSE = "pause"
    CANCEL = "cancel"
    REWIND = "rewind"
    SKIP = "skip"
    EDIT = "edit"
    FORK = "fork"
    TOP_UP = "top-up"
    DELETE = "delete"

    @property
    def done(self) -> str:
        """What a run is to which it was done."""
        return _DONE[self]


_DONE = {
    Command.RETRY: "retried",
    Command.RESUME: "resumed",
    Command.PAUSE: "paused",
    Command.CANCEL: "cancelled",
    Command.REWIND: "rewound",
    Command.SKIP: "sent on",
    Command.EDIT: "edited",
    Command.FORK: "forked",
    Command.TOP_UP: "topped up",
    Command.DELETE: "deleted",
}

_QUEUED, _RUNNING, _SCHEDULED = RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.SCHEDULED
_PAUSED, _FAILED = RunStatus.PAUSED, RunStatus.FAILED
_COMPLETED, _CANCELLED = RunStatus.COMPLETED, RunStatus.CANCELLED

ALLOWED: Mapping[Command, frozenset[RunStatus]] = {
    Command.RETRY: frozenset({_FAILED, _SCHEDULED}),
    # A run that runs is resumed by taking back a pause that has not come about yet.
    Command.RESUME: frozenset({_PAUSED, _RUNNING}),
    Command.PAUSE: frozenset({_QUEUED, _RUNNING, _SCHEDULED, _PAUSED}),
    Command.CANCEL: frozenset({_QUEUED, _RUNNING, _SCHEDULED, _PAUSED, _FAILED, _CANCELLED}),
    Command.REWIND: frozenset(
        {_QUEUED, _RUNNING, _SCHEDULED, _PAUSED, _FAILED, _COMPLETED, _CANCELLED}
    ),
    Command.SKIP: frozenset({_QUEUED, _RUNNING, _SCHEDULED, _PAUSED, _FAILED}),
    Command.EDIT: frozenset({_QUEUED, _SCHEDULED, _PAUSED, _FAILED}),
    Command.FORK: frozenset(RunStatus) - frozenset(UNDER_WAY),
    Command.TOP_UP: frozenset(RunStatus) - {RunStatus.DELETING},
    Command.DELETE: frozenset({_COMPLETED, _FAILED, _CANCELLED, _PAUSED}),
}
"""Whoever asks in another status gets `Conflict`, and so does the loser of a race."""
