"""Plain Celery: a chain of the same tasks, the state as argument and as result in Redis."""

from __future__ import annotations

from typing import Any

from celery import Celery, chain

from benchmarks.probe import probe

from .noop import STAGES


def build(url: str) -> Celery:
    """Return an app with Celery's defaults and Redis for results."""
    results = f"{url.rpartition('/')[0]}/1"
    app = Celery("chain", broker=url, backend=results, set_as_current=False)

    @app.task(name="pass_on", shared=False)
    def pass_on(state: dict[str, Any], run_id: str, last: bool) -> dict[str, Any]:
        if last:
            probe().tell("done", run=run_id, n=state["n"] + 1)
        return {**state, "n": state["n"] + 1}

    return app


def submit(app: Celery, run_id: str, state: dict[str, Any]) -> None:
    """Start one chain."""
    task = app.tasks["pass_on"]
    rest = [task.s(run_id, number == STAGES) for number in range(2, STAGES + 1)]
    chain(task.s(state, run_id, False), *rest).apply_async()


def close(app: Celery) -> None:
    """Give back connections."""
    app.close()
