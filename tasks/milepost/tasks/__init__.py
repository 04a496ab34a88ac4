"""Pipelines as chains of Celery tasks, and the engine that executes one step of them."""

from .app import Milepost
from .context import Context
from .errors import (
    BudgetExceeded,
    ClaimLost,
    Conflict,
    HandBack,
    InputMismatch,
    PermanentError,
    RunCancelled,
    RunFailed,
    RunPaused,
    StageTimeout,
    StateInvalid,
    TaskError,
    UnknownPipeline,
    UnknownRun,
)
from .head import Head, RunStatus
from .pipeline import Pipeline
from .retry import Retry
from .run import Run
from .settings import TaskSettings
from .spent import Spent

__all__ = [
    "BudgetExceeded",
    "ClaimLost",
    "Conflict",
    "Context",
    "HandBack",
    "Head",
    "InputMismatch",
    "Milepost",
    "PermanentError",
    "Pipeline",
    "Retry",
    "Run",
    "RunCancelled",
    "RunFailed",
    "RunPaused",
    "RunStatus",
    "Spent",
    "StageTimeout",
    "StateInvalid",
    "TaskError",
    "TaskSettings",
    "UnknownPipeline",
    "UnknownRun",
]
