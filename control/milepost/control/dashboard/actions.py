"""What may be done to a run as it stands."""

from __future__ import annotations

from dataclasses import dataclass

from milepost.tasks import Command, Head, RunStatus
from milepost.tasks.transitions import ALLOWED

_NEEDS_CODE = frozenset({Command.REWIND, Command.SKIP, Command.EDIT, Command.FORK})
AT_ONCE = frozenset({Command.RETRY, Command.RESUME, Command.PAUSE})
"""Done at the press of a button; all others ask first."""
_SAYS = {
    Command.RETRY: ("Retry", "Let it move again, now, at the stage due."),
    Command.RESUME: ("Resume", "Let it go on."),
    Command.PAUSE: ("Pause", "Stop before the next stage; one that runs is let finish."),
    Command.EDIT: ("Edit state", "Change what the stage due gets."),
    Command.REWIND: ("Rewind", "Go back to before a stage and run it again."),
    Command.SKIP: ("Skip stage", "Go on behind the stage due, with the state it would have got."),
    Command.FORK: ("Fork", "Start another run from what this one had before a stage."),
    Command.TOP_UP: ("Top up", "Raise the limits of its budget."),
    Command.CANCEL: ("Cancel", "End it; what a stage in flight gives is refused."),
    Command.DELETE: ("Delete", "Forget it and its checkpoints. This cannot be undone."),
}
ORDER = tuple(_SAYS)
DONE = {
    "start": "Started.",
    "retry": "Retried: it moves again.",
    "resume": "Resumed: it goes on.",
    "pause": "Paused: it stops before its next stage.",
    "edit": "The state was changed.",
    "rewind": "Rewound: it goes on from there.",
    "skip": "Skipped: it goes on behind that stage.",
    "fork": "Forked: this is the new run.",
    "top-up": "The budget was raised.",
    "cancel": "Cancelled.",
}


@dataclass(frozen=True, slots=True)
class Action:
    """A command that is offered."""

    command: Command
    label: str
    hint: str
    at_once: bool
    is_main: bool = False
    is_dangerous: bool = False


def action(command: Command, *, is_main: bool = False) -> Action:
    """Return how a command is offered."""
    label, hint = _SAYS[command]
    dangerous = command in (Command.CANCEL, Command.DELETE)
    return Action(command, label, hint, command in AT_ONCE, is_main, dangerous)


def actions(head: Head, *, code_known: bool) -> list[Action]:
    """Return what is offered for a run, what is most likely wanted first.

    Args:
        code_known: Whether this process has the run's pipeline.
    """
    found = [
        command
        for command in ORDER
        if head.status in ALLOWED[command]
        and (code_known or command not in _NEEDS_CODE)
        and _makes_sense(command, head)
    ]
    return [
        action(command, is_main=not number and command in AT_ONCE)
        for number, command in enumerate(found)
    ]


def _makes_sense(command: Command, head: Head) -> bool:
    match command:
        case Command.PAUSE:
            return head.status is not RunStatus.PAUSED and not head.pause
        case Command.RESUME:
            return head.status is RunStatus.PAUSED or bool(head.pause)
        case Command.CANCEL:
            return head.status is not RunStatus.CANCELLED
        case Command.TOP_UP:
            return bool(head.budget) and head.status is not RunStatus.COMPLETED
        case _:
            return True
