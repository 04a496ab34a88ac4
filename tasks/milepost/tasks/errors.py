"""Errors of the room, and the two exceptions that steer a stage.

MilepostError
├── UnknownPipeline        no pipeline or stage of that name is known here
├── UnknownRun             the run store knows no such run
├── Conflict               the run's status does not allow the command
│   ├── MovedOn            the run is not where it was seen any more
│   └── InputMismatch      the run id is taken by a run with another input
├── CodeMismatch           the code here cannot go on with a run
│   ├── VersionAhead       the run is of a later version
│   ├── StageGone          the stage due is not there any more
│   └── StagesReordered    a stage would be run twice, or never
├── BudgetExceeded         what a run may spend is used up
├── StateInvalid           a state fails its model; carries `stage` and `path`
├── PermanentError         for stages to raise: do not try again
├── StageTimeout           the stage ran longer than its timeout
├── RunFailed              a run that was waited for is a dead letter
├── RunPaused              a run that was waited for needs a decision: budget, or code
└── RunCancelled           a run that was waited for was cancelled

BaseException
├── OutOfBudget            park the run until it is topped up; raised by `ctx.afford()`
├── HandBack               give the stage to another worker; raised by `ctx.hand_back()`
└── ClaimLost              the run was cancelled or given to another worker; stop
"""

from __future__ import annotations

from typing import Self

from milepost.checkpointing import CheckpointError, MilepostError


class TaskError(MilepostError):
    """Something is wrong with a run or a pipeline."""

    def __init__(self, message: str, *, run_id: str | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id


class UnknownPipeline(TaskError):
    """No pipeline or stage of that name is known here."""


class UnknownRun(TaskError):
    """The run store knows no run of that id."""


class Conflict(TaskError):
    """The run's status does not allow the command; `status` is what it was."""

    def __init__(self, message: str, *, run_id: str, status: str | None = None) -> None:
        super().__init__(message, run_id=run_id)
        self.status = status


class MovedOn(Conflict):
    """The run is not where it was seen any more; `status` is what it is now."""

    @classmethod
    def of(cls, run_id: str, status: str) -> Self:
        """Return the error of a run that has this status now."""
        told = f"Run {run_id} is {status} and no longer where it was seen. Look again."
        return cls(told, run_id=run_id, status=status)


class InputMismatch(Conflict):
    """The run id is taken by a run of another pipeline or with another input."""


class CodeMismatch(TaskError):
    """The code here cannot go on with a run; another worker's may."""


class VersionAhead(CodeMismatch):
    """The run is of a later version of its pipeline than this worker has."""


class StageGone(CodeMismatch):
    """The stage due is not in the pipeline any more, and nothing says what has become of it."""


class StagesReordered(CodeMismatch):
    """In the pipeline's new order a stage of the run would be run twice, or never."""


class BudgetExceeded(TaskError):
    """What a run may spend is used up, or would be; `unit` says what of."""

    def __init__(self, message: str, *, unit: str, run_id: str | None = None) -> None:
        super().__init__(message, run_id=run_id)
        self.unit = unit


class StateInvalid(TaskError):
    """A state is not what a stage expects; `path` names the field."""

    def __init__(self, message: str, *, stage: str, path: str, run_id: str | None = None) -> None:
        super().__init__(message, run_id=run_id)
        self.stage = stage
        self.path = path


class PermanentError(TaskError):
    """Raised by a stage to say that trying again cannot help; the run becomes a dead letter."""


class StageTimeout(TaskError):
    """The stage ran longer than its timeout."""


class RunFailed(TaskError):
    """The run is a dead letter; the message says why."""


class RunPaused(TaskError):
    """Milepost paused the run; the message says what it needs."""


class RunCancelled(TaskError):
    """The run was cancelled."""


class StoreFailed(BaseException):
    """A store failed in what a stage asked of its context: no failure of the stage, whatever it catches."""

    def __init__(self, error: CheckpointError) -> None:
        super().__init__(str(error))
        self.error = error


class OutOfBudget(BaseException):
    """The stage stops before it spends more than its run may; a BaseException as `HandBack` is."""

    def __init__(self, error: BudgetExceeded) -> None:
        super().__init__(str(error))
        self.error = error


class HandBack(BaseException):
    """The stage gives itself back, to be run from its beginning by another worker.

    A BaseException, so that ``except Exception`` in a stage does not swallow it.
    """


class ClaimLost(BaseException):
    """The claim is gone: what the stage does now cannot be committed.

    A BaseException, so that ``except Exception`` in a stage does not swallow it.
    """
