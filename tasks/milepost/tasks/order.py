"""What a start asks for, looked at before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from milepost.checkpointing import Misconfigured
from milepost.checkpointing.ids import new_run_id, valid_name
from milepost.checkpointing.plain_json import dump_json

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
    line: bytes | None = None
    """The state as it is written by its type, if it has one."""

    @property
    def delay_ms(self) -> int:
        """How long it is not to begin; what is shorter than stores can tell is no delay."""
        return int(self.delay_seconds * 1000)


def ordered(pipeline: Pipeline, state: Any, run_id: str | None, options: StartOptions) -> Order:
    """Return what is asked for, as `ordered_all` does."""
    (order,) = ordered_all(pipeline, [state], [run_id], options)
    return order


def ordered_all(
    pipeline: Pipeline,
    states: Sequence[Any],
    run_ids: Sequence[str | None],
    options: StartOptions,
) -> list[Order]:
    """Return what is asked for: a run for each state, all with the same options.

    Raises:
        What `Pipeline.start` raises of its arguments.
    """
    tags = options.get("tags") or ()
    if isinstance(tags, str):
        raise Misconfigured(f"tags={tags!r} is one text; expected a list of tags.")
    priority, tenant = options.get("priority"), options.get("tenant")
    if priority is not None and (type(priority) is not int or priority not in _PRIORITIES):
        raise Misconfigured(f"priority={priority!r}: expected a whole number from 0 to 9.")
    common = (
        tuple(valid_name(tag, "tag") for tag in dict.fromkeys(tags)),
        _delay_seconds(options),
        valid_budget(options.get("budget") or {}),
        "" if priority is None else str(priority),
        valid_name(tenant, "tenant") if tenant else "",
    )
    first, types, orders = pipeline.first, pipeline.app.types, []
    for given, name in zip(states, run_ids, strict=True):
        run_id = new_run_id() if name is None else valid_name(name)
        state = given
        if first.input is not None:
            state = validated(given, first.input, first.name, run_id)
        # Refuses what cannot be written, so that the digest need not.
        line, plain = None, state
        if first.input is not None:
            line = dump_json(state, name="state", adapter=first.input)
        else:
            plain = types.plain(state, "state")
        digest = input_digest(
            pipeline.name, given, plain, first.input, may_hold_sets=first.takes_sets
        )
        orders.append(Order(run_id, state, digest, *common, line))
    return orders


def _delay_seconds(options: StartOptions) -> float:
    delay, at = options.get("delay"), options.get("at")
    if delay is not None and at is not None:
        raise Misconfigured("A start takes a delay or a time, not both.")
    if at is not None:
        return max(0.0, (at - datetime.now(at.tzinfo)).total_seconds())
    return 0.0 if delay is None else seconds(delay)
