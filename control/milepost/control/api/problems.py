"""What goes wrong, as RFC 9457 problems: one kind for each error, with a URI that stays.

Server and client share the table, so that an error raised behind the API is raised in front of it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from milepost.checkpointing import (
    AlreadyExists,
    Corrupt,
    Expired,
    InvalidName,
    MilepostError,
    Misconfigured,
    MissingExtra,
    MissingKey,
    NotFound,
    NotSerializable,
    Refused,
    TooLarge,
    Unavailable,
)
from milepost.tasks import (
    BudgetExceeded,
    Conflict,
    InputMismatch,
    MovedOn,
    StateInvalid,
    UnknownPipeline,
    UnknownRun,
)
from milepost.tasks.errors import CodeMismatch
from milepost.worker.errors import UnknownWorker

BASE = "https://milepost.readthedocs.io/reference/errors#"
MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: what its URI ends with, its status, and its title."""

    slug: str
    status: int
    title: str
    told: str | None = None
    """Said in place of the error's own text, which is for operators; that one is logged."""

    @property
    def uri(self) -> str:
        """Its `type`."""
        return BASE + self.slug


UNAUTHORIZED = Kind("unauthorized", 401, "A valid key is needed")
FORBIDDEN = Kind("forbidden", 403, "The key does not allow it")
NOT_FOUND = Kind("not-found", 404, "There is nothing here")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "Not with this method")
TOO_SLOW = Kind("too-slow", 408, "The request took too long to arrive")
TOO_LARGE = Kind("too-large", 413, "Too large")
UNSUPPORTED = Kind("unsupported-media-type", 415, "Bodies have to be JSON")
MALFORMED = Kind("malformed-json", 400, "The body is no JSON that is accepted")
INVALID = Kind("invalid-request", 422, "The request is not what was expected")
TOO_MANY = Kind("too-many-requests", 429, "Too many requests")
INTERNAL = Kind("internal", 500, "Something went wrong here", "It was logged.")
BUSY = Kind("busy", 503, "Too much at once")

OF_ERRORS: tuple[tuple[type[MilepostError], Kind], ...] = (
    (UnknownRun, Kind("unknown-run", 404, "No such run")),
    (UnknownWorker, Kind("unknown-worker", 404, "No such worker")),
    (UnknownPipeline, Kind("unknown-pipeline", 422, "No such pipeline or stage here")),
    (MovedOn, Kind("moved-on", 412, "The run has moved on")),
    (InputMismatch, Kind("input-mismatch", 409, "The run id is taken")),
    (Conflict, Kind("conflict", 409, "The run's status does not allow it")),
    (CodeMismatch, Kind("code-mismatch", 409, "The code here cannot go on with the run")),
    (BudgetExceeded, Kind("budget-exceeded", 409, "The budget is used up")),
    (AlreadyExists, Kind("already-exists", 409, "It exists already")),
    (Expired, Kind("expired", 410, "The checkpoint's time is over")),
    (NotFound, Kind("unknown-checkpoint", 404, "No such checkpoint")),
    (TooLarge, TOO_LARGE),
    (StateInvalid, Kind("state-invalid", 422, "The state is not what the stage expects")),
    (NotSerializable, Kind("not-serializable", 422, "The state cannot be kept")),
    (InvalidName, Kind("invalid-name", 422, "The name breaks the rule for names")),
    (
        Unavailable,
        Kind("unavailable", 503, "A store does not answer", "Try again in a moment."),
    ),
    (Refused, Kind("refused", 502, "A store refuses", "Its operator has to look at it.")),
    (Corrupt, Kind("corrupt", 500, "A checkpoint is damaged", "It was logged.")),
    (MissingKey, Kind("missing-key", 500, "A decryption key is missing", "It was logged.")),
    (MissingExtra, INTERNAL),
    (Misconfigured, Kind("misconfigured", 422, "It cannot work as asked")),
)
"""The first whose class fits counts."""

KINDS: Mapping[str, Kind] = {
    kind.slug: kind
    for kind in (
        *(kind for _, kind in OF_ERRORS),
        *(UNAUTHORIZED, FORBIDDEN, NOT_FOUND, METHOD_NOT_ALLOWED, TOO_SLOW, UNSUPPORTED),
        *(MALFORMED, INVALID, TOO_MANY, BUSY),
    )
}

_MEMBERS = ("run_id", "status", "stage", "path", "unit", "size_bytes", "limit_bytes")


@dataclass(eq=False)
class Problem(Exception):
    """Raised where a request cannot be served."""

    kind: Kind
    detail: str = ""
    members: Mapping[str, Any] = field(default_factory=dict)
    """What programs want to know beside the text."""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.detail or self.kind.title

    def to_dict(self) -> dict[str, Any]:
        """Return the document of RFC 9457."""
        return {
            "type": self.kind.uri,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail or self.kind.told or self.kind.title,
            **self.members,
        }


def problem_of(error: MilepostError) -> Problem:
    """Return what a client is told of an error of the library."""
    kind = next((kind for cls, kind in OF_ERRORS if isinstance(error, cls)), INTERNAL)
    if kind.told is not None:
        headers = {"Retry-After": str(RETRY_SECONDS)} if kind.status == 503 else {}
        return Problem(kind, kind.told, headers=headers)
    members = {
        # `status` is the problem's own: the run's goes beside it.
        ("run_status" if name == "status" else name): value
        for name in _MEMBERS
        if (value := getattr(error, name, None)) is not None
    }
    # Where the run store is, is no client's affair; and a foreign run is none.
    told = f"There is no run {error.run_id}." if isinstance(error, UnknownRun) else str(error)
    return Problem(kind, told, members)


def http_problem(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """Return the problem of a bare HTTP status."""
    kinds = {kind.status: kind for kind in (NOT_FOUND, METHOD_NOT_ALLOWED, TOO_LARGE, INTERNAL)}
    kind = kinds.get(status) or Kind("http", status, HTTPStatus(status).phrase)
    return Problem(kind, headers=headers or {})
