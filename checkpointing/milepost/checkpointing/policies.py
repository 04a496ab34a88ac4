"""When a checkpoint that is offered is worth writing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from .errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Since:
    """What has happened in a run since its last checkpoint was written."""

    seconds: float | None
    """None: this process has written none yet."""
    offers: int
    """How many checkpoints were offered, this one included."""
    work: float
    """The sum of what the offers said was done, in the unit of the caller; 0 if they said nothing."""
    event: str | None
    """What the offer says has happened."""
    step_name: str | None
    write_seconds: float
    """How long a checkpoint took to write, on average of the last ones; 0 before the first."""


class Policy(Protocol):
    """Decides; any object with this method will do. It may be asked from several threads."""

    def is_due(self, since: Since) -> bool:
        """Whether to write the checkpoint that is offered now."""


@dataclass(frozen=True, slots=True)
class Always:
    """Writes every checkpoint that is offered."""

    def is_due(self, since: Since) -> bool:
        """Yes."""
        return True


@dataclass(frozen=True, slots=True)
class Interval:
    """Writes if the last one is at least this many seconds old, and the first."""

    seconds: float

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise Misconfigured(f"Interval({self.seconds}): expected more than 0 seconds.")

    def is_due(self, since: Since) -> bool:
        """Whether the time is over."""
        return since.seconds is None or since.seconds >= self.seconds


@dataclass(frozen=True, slots=True)
class EveryN:
    """Writes each *count*-th checkpoint that is offered."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise Misconfigured(f"EveryN({self.count}): expected 1 or more.")

    def is_due(self, since: Since) -> bool:
        """Whether it is the one."""
        return since.offers >= self.count


@dataclass(frozen=True, slots=True)
class OnEvents:
    """Writes when the offer names one of these events, or any if none is given."""

    events: Collection[str] = ()

    def is_due(self, since: Since) -> bool:
        """Whether the event is one to keep."""
        if since.event is None:
            return False
        return not self.events or since.event in self.events


@dataclass(frozen=True, slots=True)
class AtSteps:
    """Writes at these steps."""

    steps: Collection[str]

    def is_due(self, since: Since) -> bool:
        """Whether the step is one of them."""
        return since.step_name in self.steps


@dataclass(frozen=True, slots=True)
class Adaptive:
    """Writes when what a failure would cost, on average, is more than a checkpoint costs.

    That is: work done since the last one, times the probability that it is lost before the next. Work is
    what offers say was done; where they say nothing, the seconds that went by.

    Args:
        failure_probability: Of a failure between two offers.
        checkpoint_cost: In the unit of work; by default the seconds that writing was measured to take.
    """

    failure_probability: float = 0.01
    checkpoint_cost: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.failure_probability <= 1:
            raise Misconfigured(
                f"Adaptive(failure_probability={self.failure_probability}): expected more than 0, at "
                "most 1."
            )

    def is_due(self, since: Since) -> bool:
        """Whether the work at risk is worth a checkpoint."""
        if since.seconds is None:
            return True
        cost = self.checkpoint_cost if self.checkpoint_cost is not None else since.write_seconds
        work = since.work or since.seconds
        return work * self.failure_probability > cost


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Writes when one of several policies does."""

    policies: Collection[Policy]

    def is_due(self, since: Since) -> bool:
        """Whether one says so."""
        return any(policy.is_due(since) for policy in self.policies)
