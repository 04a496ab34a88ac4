"""The contract of whoever is told of the stages that one task runs."""

from __future__ import annotations

from .head import Step


class Monitor:
    """Is told how far a task has come; this one passes nothing on.

    Called in the middle of the work, so it is quick, and it raises nothing.
    """

    def progressed(self, done: int, total: int | None) -> None:
        """The stage that runs has saved how far it has come."""

    def began(self, step: Step) -> None:
        """The task goes on with the stage that follows; what is told next is about that."""

    def ended(self, said: str) -> None:
        """What became of the stage that the task went on with."""

    def failed(self, error: BaseException) -> None:
        """The stage that the task went on with has raised, or a store did not answer it."""


UNWATCHED = Monitor()
