"""Commands on runs as Celery tasks, for who can send a task and nothing else: Flower, ``celery call``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from milepost.checkpointing import MilepostError
from milepost.checkpointing.ids import valid_name

from .errors import TaskError
from .lifecycle import Lifecycle

if TYPE_CHECKING:
    from .app import Milepost

COMMANDS: dict[str, Callable[[Lifecycle, str], None]] = {
    "retry": Lifecycle.retry,
    "resume": Lifecycle.resume,
    "pause": Lifecycle.pause,
    "cancel": Lifecycle.cancel,
}


def create_command_tasks(app: Milepost) -> None:
    """Register ``milepost.retry`` and its like with the Celery app of *app*.

    Each takes a run id and returns the run's status then. What is wrong with a command is its task's
    failure, and one line in the worker's log. A message is used up before its command is given, so
    that none comes back after a crash: a run may have failed anew by then.
    """
    for command, give in COMMANDS.items():
        app.celery.task(
            _body(app, command, give),
            name=f"milepost.{command}",
            typing=False,
            shared=False,
            acks_late=False,
            throws=(MilepostError,),
        )


def _body(
    app: Milepost, command: str, give: Callable[[Lifecycle, str], None]
) -> Callable[..., str]:
    def obey(*args: Any, **kwargs: Any) -> str:
        given = {**kwargs, "run_id": args[0]} if len(args) == 1 and not kwargs else kwargs
        if given.keys() != {"run_id"} or (args and kwargs):
            raise TaskError(f"milepost.{command} takes a run_id and nothing else.")
        run_id = valid_name(given["run_id"])
        give(app.lifecycle.on_behalf_of("celery"), run_id)
        head = app.runs.get(run_id)
        return "deleted" if head is None else str(head.status)

    return obey
