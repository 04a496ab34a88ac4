"""What tests of the API start from: an app with pipelines on a real Redis, and the API in front of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pydantic import BaseModel

from integration.test_engine import step
from milepost.tasks import Milepost, PermanentError, Run
from milepost.tasks.setbacks import StageFailed


class Count(BaseModel):
    """A state."""

    n: int = 0
    broken: bool = False


def counting_app(url: str, **stores: Any) -> Milepost:
    """Return an app with the pipelines `counting` and `loose`."""
    app = Milepost(url, **stores)
    counting = app.pipeline("counting")

    @counting.stage
    def up(state: Count) -> Count:
        return Count(n=state.n + 1, broken=state.broken)

    @counting.stage
    def check(state: Count) -> Count:
        if state.broken:
            raise PermanentError(f"it is broken at {state.n}")
        return state

    loose = app.pipeline("loose")

    @loose.stage
    def same(state: dict[str, object]) -> dict[str, object]:
        return state

    return app


def finish(app: Milepost, run_id: str) -> Run:
    """Execute the steps of a run until it stands still, as a worker does."""
    run = app.run(run_id)
    while run.status == "queued":
        with suppress(StageFailed):
            step(app, run)
    return run
