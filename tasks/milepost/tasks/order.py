"""What a start asks for, looked at before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from milepost.checkpointing import Misconfigured
from milepost.checkpointing.ids import new_run_id, valid_name

from .budget import valid_budget
from .digest import input_digest
from .duration import Duration, seconds
from .stage import validated

if TYPE_CHECKING:
    from .pipeline import Pipeline

_PRIORITIES = range(10)


class StartOptions(TypedDict, total=False):
    """The keyword arguments of `Pipeline.start` and `Pipeline.start_many`."""

    tags: Sequence[str]
    """For listing."""
    delay: Duration | None
    """Do not begin before this long from now."""
    at: datetime | None
    """Do not begin before this time; one without a time zone is this machine's."""
    budget: Mapping[str, float] | None
    """What the run may spend: ``usd`` and other units that its stages report with `ctx.cost`, ``tokens``
    (in and out together), ``seconds`` of stages' work, ``attempts``, ``bytes`` of checkpoints. It is paused
    before a stage begins for which nothing is left."""
    priority: int | None
    """From 0 to 9, in place of those of the stages; as in Celery, 0 is the highest on Redis and the lowest on
    RabbitMQ."""
    tenant: str | None
    """On whose behalf; keys of the HTTP API may be bound to one."""


@dataclass(frozen=True, slots=True)
class Order:
    """A start whose parts are known to be right."""

    run_id: str
    state: Any
    digest: str
    tags: Sequence[str] = ()
    delay_seconds: float = 0.0
    budget: str = ""
    priority: str = ""
    tenant: str = ""


def ordered(pipeline: Pipeline, state: Any, run_id: str | None, options: StartOptions) -> Order:
    """Return what is asked for.

    Raises:
        What `Pipeline.start` raises of its arguments.
    """
    run_id = new_run_id() if run_id is None else valid_name(run_id)
    tags = options.get("tags") or ()
    if isinstance(tags, str):
        raise Misconfigured(f"tags={tags!r} is one text; expected a list of tags.")
    first, given = pipeline.first, state
    if first.input is not None:
        state = validated(state, first.input, first.name, run_id)
    # Refuses what cannot be written, so that the digest need not.
    plain = pipeline.app.types.plain(state, "state", first.input)
    priority, tenant = options.get("priority"), options.get("tenant")
    if priority is not None and (type(priority) is not int or priority not in _PRIORITIES):
        raise Misconfigured(f"priority={priority!r}: expected a whole number from 0 to 9.")
    return Order(
        run_id=run_id,
        state=state,
        digest=input_digest(
            pipeline.name, given, plain, first.input, may_hold_sets=first.takes_sets
        ),
        tags=tuple(valid_name(tag, "tag") for tag in dict.fromkeys(tags)),
        delay_seconds=_delay_seconds(options),
        budget=valid_budget(options.get("budget") or {}),
        priority="" if priority is None else str(priority),
        tenant=valid_name(tenant, "tenant") if tenant else "",
    )


def _delay_seconds(options: StartOptions) -> float:
    delay, at = options.get("delay"), options.get("at")
    if delay is not None and at is not None:
        raise Misconfigured("A start takes a delay or a time, not both.")
    if at is not None:
        return max(0.0, (at - datetime.now(at.tzinfo)).total_seconds())
    return 0.0 if delay is None else seconds(delay)
