"""Pipelines as chains of Celery tasks, and the engine that executes one step of them."""

from .app import Milepost
from .bulk import Bulk, Summary
from .context import Context
from .errors import (
    BudgetExceeded,
    ClaimLost,
    Conflict,
    HandBack,
    InputMismatch,
    MovedOn,
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
from .query import RunQuery
from .retry import Retry
from .run import Run
from .settings import TaskSettings
from .spent import Spent
from .transitions import Command

__all__ = [
    "BudgetExceeded",
    "Bulk",
    "ClaimLost",
    "Command",
    "Conflict",
    "Context",
    "HandBack",
    "Head",
    "InputMismatch",
    "Milepost",
    "MovedOn",
    "PermanentError",
    "Pipeline",
    "Retry",
    "Run",
    "RunCancelled",
    "RunFailed",
    "RunPaused",
    "RunQuery",
    "RunStatus",
    "Spent",
    "StageTimeout",
    "StateInvalid",
    "Summary",
    "TaskError",
    "TaskSettings",
    "UnknownPipeline",
    "UnknownRun",
]
