"""What travels in the queue: a run id and the numbers of a step. Everything else is in the stores."""

from __future__ import annotations

from typing import Any

from milepost.checkpointing import InvalidName
from milepost.checkpointing.ids import valid_name

from .head import Step


def to_kwargs(step: Step) -> dict[str, Any]:
    """Return the keyword arguments of the stage's Celery task."""
    kwargs: dict[str, Any] = {"run_id": step.run_id, "sequence": step.sequence}
    if step.timeline:
        kwargs["timeline"] = step.timeline
    if step.lane != "main":
        kwargs["lane"] = step.lane
    return kwargs


def from_kwargs(stage: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step | str:
    """Read a message of *stage*; if it is none, return the reason.

    Messages come from outside: nothing of them is believed before it was looked at.
    """
    if args or not kwargs.keys() <= {"run_id", "sequence", "timeline", "lane"}:
        return "expected the keyword arguments run_id and sequence, and at most timeline and lane"
    try:
        run_id = valid_name(kwargs.get("run_id"))
        lane = valid_name(kwargs.get("lane", "main"), "lane")
    except InvalidName as error:
        return str(error)
    sequence, timeline = kwargs.get("sequence"), kwargs.get("timeline", 0)
    for number in (sequence, timeline):
        if type(number) is not int or not 0 <= number < 1 << 32:
            return f"sequence and timeline must be whole numbers from 0, not {number!r:.40}"
    return Step(run_id, int(sequence or 0), stage, timeline, lane)
