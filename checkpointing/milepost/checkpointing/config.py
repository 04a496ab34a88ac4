"""What a `CheckpointManager` writes and keeps."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .policies import Always, AnyOf, EveryN, Interval, Policy


class CheckpointConfig(BaseModel):
    """When checkpoints are written, and which are kept.

    Limits concern what `CheckpointManager` writes; the engine's commits are not touched by them. No limit
    removes a run's newest sound checkpoint; the end of its time to live does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    auto_checkpoint: bool = True
    """Whether `create` writes by itself; if not, only what is forced is written, and nothing is put off."""

    checkpoint_interval: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Seconds between two checkpoints of a run; what is offered sooner is put off, and written
    when it is due (by itself after `start`, else with the next offer, `flush` or `close`), unless something
    newer comes. 0: all are written."""

    every_n: int = Field(default=1, ge=1)
    """Write each n-th that is offered. With an interval: whichever comes first."""

    policy: Any = None
    """A `Policy` of your own, in place of both."""

    max_checkpoints_per_run: int | None = Field(default=None, ge=1)
    """How many are kept; None: all. Costs a look and a deletion a checkpoint."""

    max_age_seconds: float | None = Field(default=None, gt=0, le=1e10)
    """Older ones are removed by `cleanup`; None: none."""

    default_ttl_seconds: float | None = Field(default=None, gt=0, le=1e10)
    """The time to live of checkpoints for which none is given; None: for ever."""

    keep_branches: bool = False
    """Whether the last checkpoint of every branch is spared, too."""

    on_success: Literal["all", "final", "none"] = "all"
    """What `mark_completed` leaves: all, the final checkpoint, or nothing of the run."""

    cleanup_interval: float = Field(default=300.0, gt=0)
    """Seconds between two cleanups in the background, once `start` was called."""

    @property
    def frees_numbers(self) -> bool:
        """Whether checkpoints are removed by themselves."""
        limits = (
            self.max_checkpoints_per_run,
            self.max_age_seconds,
            self.default_ttl_seconds,
        )
        return any(limit is not None for limit in limits)

    @property
    def decides(self) -> Policy:
        """The policy that all of this comes to."""
        if self.policy is not None:
            policy: Policy = self.policy
            return policy
        limits: list[Policy] = []
        if self.checkpoint_interval:
            limits.append(Interval(self.checkpoint_interval))
        if self.every_n > 1:
            limits.append(EveryN(self.every_n))
        return AnyOf(limits) if limits else Always()
