"""Milepost: a pipeline whose middle stage hangs the first time, so that it can be killed in it."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.probe import probe
from milepost.tasks import Context, Milepost

PIPELINE = "crash"
_HANG_SECONDS = 60.0


def build(url: str) -> Milepost:
    """Return an app with the pipeline."""
    app = Milepost(url)
    pipeline = app.pipeline(PIPELINE)

    def begin(state: dict[str, Any]) -> dict[str, Any]:
        return state

    def hang(state: dict[str, Any], context: Context) -> dict[str, Any]:
        probe().tell(f"started {context.run_id}", attempt=context.attempt)
        if context.attempt == 1:
            time.sleep(_HANG_SECONDS)
        return state

    def end(state: dict[str, Any], context: Context) -> dict[str, Any]:
        probe().tell(f"done {context.run_id}")
        return state

    for stage in (begin, hang, end):
        pipeline.stage(stage)
    return app
