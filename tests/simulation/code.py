"""The pipeline that the simulated workers run, in two versions, as two deployments have it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from celery import Celery

from milepost.tasks import Context, Milepost, Retry
from milepost.tasks.pipeline import Pipeline
from milepost.tasks.settings import TaskSettings

if TYPE_CHECKING:
    from .world import World

NAME = "sim"
FORMERLY = {"b2": "b"}
"""What stages of the second version were called in the first."""
PLANS = {"1": ("a", "b", "c", "d"), "2": ("a", "b2", "c", "d", "e")}
PAYING = frozenset({"a", "c"})
"""Stages that do something outside, once."""


class FlakyError(Exception):
    """What a stage raises that works the next time."""


class Code:
    """One version of it, and an app to hold it. All worlds of the interpreter share it, one by one."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.world: World | None = None
        celery = Celery(f"simulation-{version}", broker="memory://", set_as_current=False)
        self.app = Milepost(celery, settings=TaskSettings(), runs="memory://")
        self.pipeline: Pipeline = self.app.pipeline(NAME, version)
        for stage in PLANS[version]:
            heavy = stage == "d"
            self.pipeline.stage(
                name=stage,
                retry=Retry(attempts=50, backoff="1s", jitter=False),
                queue="heavy" if heavy else "light",
                timeout="20s" if heavy else None,
                formerly=[FORMERLY[stage]] if stage in FORMERLY else [],
            )(self._body(stage))

    def names(self, stage: str | None) -> str | None:
        """Return what this version calls a stage of any; of one that it does not know, the empty string."""
        plan = PLANS[self.version]
        if stage is None or stage in plan:
            return stage
        return next(
            (now for now, former in FORMERLY.items() if former == stage and now in plan), ""
        )

    def _body(self, stage: str) -> Callable[[Any, Context], Any]:
        def body(state: Any, ctx: Context) -> Any:
            assert self.world is not None
            return self.world.perform(stage, state, ctx)

        return body


def expected(stage: str, before: Any, receipt: int | None) -> Any:
    """Return what *stage* makes of a state."""
    receipts = dict(before["receipts"])
    if receipt is not None:
        receipts[stage] = receipt
    return {**before, "trail": [*before["trail"], stage], "receipts": receipts}


@cache
def code(version: str) -> Code:
    """Return that version, made once."""
    return Code(version)
