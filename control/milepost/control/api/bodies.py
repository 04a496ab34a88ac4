"""What the API is asked for: queries and bodies, every field of them known."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from milepost.checkpointing import Kind, Misconfigured
from milepost.tasks import Command, RunQuery, RunStatus
from milepost.tasks.duration import seconds

from .documents import Status
from .keys import Scope

B = TypeVar("B", bound=BaseModel)
# The rule of milepost.checkpointing.ids, so that schemas say it.
NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9_-]|\.[A-Za-z0-9_-])*$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=128)]
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)", re.ASCII
)
_TEN_YEARS = 315_360_000.0
_DELAY = r"^([0-9]{1,3}(\.[0-9]{1,3})?d)?([0-9]{1,4}(\.[0-9]{1,3})?(ms|s|m|h)){0,4}$"


def _whole(value: Any) -> Any:
    # To JSON, 9.0 is a whole number.
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE = BeforeValidator(_whole)


def _instant(value: Any) -> Any:
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        return datetime.fromisoformat(value)
    raise ValueError("expected a time with its time zone, as 2026-01-31T12:00:00Z")


Instant = Annotated[datetime, BeforeValidator(_instant), Field(examples=["2026-01-31T12:00:00Z"])]


def _delay(value: float | str) -> float | str:
    try:
        wait = seconds(value)
    except Misconfigured as error:
        raise ValueError(str(error)) from None
    if wait > _TEN_YEARS:
        raise ValueError("expected ten years at most")
    return value


Amounts = Annotated[
    dict[Name, Annotated[float, Field(gt=0, le=1e15)]],
    # Pydantic's schema says what names of the pattern hold, not that there are no others.
    Field(json_schema_extra={"additionalProperties": False}),
]


class Body(BaseModel):
    """A part of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StrictBody(Body):
    """A part of a body: a number that stands in a text is a text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RunFilter(Body):
    """Conditions on runs; all that are given must hold."""

    status: list[Status] = Field(default_factory=list, max_length=9)
    """Any of these."""
    pipeline: Name | None = None
    stage: Name | None = None
    """The stage due, or the one that failed."""
    group: Name | None = None
    """The group of failures it is in."""
    tag: Name | None = None
    tenant: Name | None = None
    since: Instant | None = None
    """Started then or later."""
    until: Instant | None = None
    """Started before then."""

    def query(self, tenant: str) -> RunQuery:
        """Return the library's query, of *tenant*'s runs alone if one is given."""
        return RunQuery(
            status=frozenset(RunStatus(status) for status in self.status),
            pipeline=self.pipeline,
            stage=self.stage,
            group=self.group,
            tag=self.tag,
            tenant=tenant or self.tenant,
            since_ms=_milliseconds(self.since),
            until_ms=_milliseconds(self.until),
        )


class Paging(Body):
    """Which part of a listing."""

    cursor: str | None = Field(default=None, max_length=200)
    """That of the page before."""
    limit: int = Field(default=50, ge=1, le=500)


class RunListing(RunFilter, Paging):
    """A page of runs."""


class History(Paging):
    """A page of a run's checkpoints."""

    kind: Literal["commit", "manual"] = "commit"
    """Those after stages, or those that a stage made with ``ctx.checkpoint``."""

    @property
    def series(self) -> Kind:
        """The library's name."""
        return Kind(self.kind)


class StartOptions(StrictBody):
    """How runs are started."""

    tags: list[Name] = Field(default_factory=list, max_length=100)
    priority: Annotated[int, Field(ge=0, le=9), _WHOLE] | None = None
    """In place of those of the stages; 0 is the highest on Redis and the lowest on RabbitMQ."""
    delay: (
        Annotated[
            Annotated[float, Field(ge=0)] | str,
            AfterValidator(_delay),
            WithJsonSchema(
                {
                    "anyOf": [
                        {"type": "number", "minimum": 0, "maximum": _TEN_YEARS},
                        {"type": "string", "minLength": 2, "pattern": _DELAY},
                    ]
                }
            ),
            Field(examples=["10m", 90]),
        ]
        | None
    ) = None
    """Begin this long from now, in seconds or as ``10m``."""
    at: Instant | None = None
    """Begin at this time."""
    budget: Amounts = Field(default_factory=dict, examples=[{"usd": 5}])
    """What each may spend, by unit."""
    tenant: Name | None = None
    """On whose behalf. Keys that are bound to a tenant start runs for it alone."""


class Start(StartOptions):
    """A run to be started."""

    state: Any = Field(default=None, examples=[{"source": "2013"}])
    """The first stage's input."""
    run_id: Name | None = None
    """A name of your own: the same again, with the same input, is the same run."""


class BatchEntry(StrictBody):
    """One run of a batch."""

    state: Any = None
    run_id: Name | None = None


class StartBatch(StartOptions):
    """Runs to be started, with the same options."""

    runs: list[BatchEntry] = Field(min_length=1, max_length=1_000)


def _exactly_one(body: B) -> B:
    if len(body.model_fields_set) != 1:
        raise ValueError(f"expected one of {' and '.join(type(body).model_fields)}")
    return body


class Rewind(StrictBody):
    """Where a run is to go on: before a stage, or behind one of its commits."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["stage"]}, {"required": ["checkpoint_id"]}]}
    )

    stage: Name | None = None
    checkpoint_id: Name | None = None

    _is_one = model_validator(mode="after")(_exactly_one)


class Edit(StrictBody):
    """The state that the stage due shall get: a whole one, or a JSON merge patch (RFC 7396)."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["state"]}, {"required": ["patch"]}]}
    )

    state: Any = None
    patch: Any = Field(default=None, examples=[{"source": "2014"}])

    _is_one = model_validator(mode="after")(_exactly_one)


class Fork(StrictBody):
    """Where another run begins."""

    stage: Name | None = None
    """By default the stage due."""
    run_id: Name | None = None


class TopUp(StrictBody):
    """By how much limits are raised, by unit."""

    amounts: Amounts = Field(min_length=1, examples=[{"usd": 5}])


class Arguments(StrictBody):
    """Those of a command on many runs."""

    stage: Name | None = None
    amounts: Amounts | None = None
    state: Any = None
    patch: Any = None


class Bulk(StrictBody):
    """A command on all runs that a query finds."""

    command: Literal[
        "retry", "resume", "pause", "cancel", "rewind", "skip", "edit", "fork", "top-up", "delete"
    ]
    query: RunFilter = Field(default_factory=RunFilter, examples=[{"status": ["failed"]}])
    arguments: Arguments = Field(default_factory=Arguments)
    """`stage` of rewind and fork, `amounts` of top-up, `state` or `patch` of edit."""
    dry_run: bool = False
    """Only count."""
    rate_per_second: float | None = Field(default=None, ge=0.1, le=1e6)
    limit: Annotated[int, Field(ge=1, le=1_000_000), _WHOLE] | None = None
    yes: bool = False
    """Every run is meant: needed where the query has no condition."""

    def asked(self) -> tuple[Command, dict[str, Any]]:
        """Return the command with its arguments.

        Raises:
            Misconfigured: It takes others.
        """
        command = Command(self.command)
        given = self.arguments.model_dump(exclude_none=True)
        takes, needs = _ARGUMENTS.get(command, (set(), 0))
        if given.keys() - takes or len(given) < needs or (len(given) > 1):
            raise Misconfigured(
                f"{command} takes {' or '.join(sorted(takes)) or 'no arguments'}; "
                f"{', '.join(sorted(given)) or 'none'} was given."
            )
        return command, given


_ARGUMENTS: dict[Command, tuple[set[str], int]] = {
    Command.REWIND: ({"stage"}, 1),
    Command.FORK: ({"stage"}, 0),
    Command.TOP_UP: ({"amounts"}, 1),
    Command.EDIT: ({"state", "patch"}, 1),
}
"""Which arguments a command takes, and how many it needs."""


class NewKey(StrictBody):
    """A key to be made."""

    name: Name
    """Of the person or program that gets it; what it does is noted under it."""
    scope: Annotated[Scope, Field(strict=False)]
    tenant: Name | None = None
    """Only this tenant's runs are seen."""
    expires_seconds: float | None = Field(default=None, gt=0, le=_TEN_YEARS)


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)
