"""Apps with different code on the same stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from milepost.tasks import Milepost, Run, RunStatus, TaskSettings


class Deploys:
    """Apps with different code on the same stores; each notes which of its stages ran."""

    def __init__(self, url: str, checkpoints: str | None) -> None:
        self._url, self._checkpoints = url, checkpoints
        self._apps: list[Milepost] = []
        self.ran: list[str] = []

    def app(self, *stages: str, version: str = "1", waits: float = 0) -> Milepost:
        """An app whose pipeline ``line`` has these stages; ``b<a`` is b, which was called a."""
        app = Milepost(
            self._url,
            checkpoints=self._checkpoints,
            settings=TaskSettings(deploy_seconds=waits),
        )
        self._apps.append(app)
        self.define(app, *stages, version=version)
        return app

    def define(self, app: Milepost, *stages: str, version: str) -> None:
        line = app.pipeline("line", version=version)
        for stage in stages:
            name, _, former = stage.partition("<")
            line.stage(name=name, formerly=[former] if former else [])(self._body(name, version))

    def _body(self, name: str, version: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def body(state: dict[str, Any]) -> dict[str, Any]:
            self.ran.append(f"{name}{version}")
            return {**state, name: version}

        return body

    def close(self) -> None:
        for app in self._apps:
            app.close()
            app.celery.close()


def step(app: Milepost, run_id: str) -> str:
    head = app.run(run_id).head
    return app.runtime.engine.execute(head.pipeline, head.step)


def finish(app: Milepost, run_id: str) -> Run:
    run = app.run(run_id)
    for _ in range(10):
        if run.status.ended or run.status is RunStatus.PAUSED:
            return run
        step(app, run_id)
    raise AssertionError(f"the run does not end: {run.head}")


def begun(app: Milepost, steps: int = 1) -> str:
    run = app.start("line", {})
    for _ in range(steps):
        step(app, run.id)
    return run.id
