"""Milepost: a pipeline of no-op stages."""

from __future__ import annotations

from typing import Any

from benchmarks.probe import probe
from milepost.tasks import Context, Milepost

STAGES = 10
PIPELINE = "noop"


def build(url: str, burst: str = "0s") -> Milepost:
    """Return an app with the pipeline."""
    app = Milepost(url)
    pipeline = app.pipeline(PIPELINE, burst=burst)

    def pass_on(state: dict[str, Any]) -> dict[str, Any]:
        return {**state, "n": state["n"] + 1}

    def tell(state: dict[str, Any], context: Context) -> dict[str, Any]:
        probe().tell("done", run=context.run_id, n=state["n"] + 1)
        return {**state, "n": state["n"] + 1}

    for number in range(1, STAGES):
        pipeline.stage(name=f"stage-{number}")(pass_on)
    pipeline.stage(name=f"stage-{STAGES}")(tell)
    return app


def submit(app: Milepost, run_id: str, state: dict[str, Any]) -> None:
    """Start one run."""
    app.start(PIPELINE, state, run_id=run_id)


def close(app: Milepost) -> None:
    """Give back connections."""
    app.close()
