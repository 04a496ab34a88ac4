"""A run store that can be lost, and a log that is not."""

from __future__ import annotations

from typing import Any

import redis

from milepost.tasks import Context, Milepost, Run, RunStatus, TaskSettings

STAGES = ("a", "b", "c", "d")


def define(app: Milepost, ran: list[str]) -> None:
    line = app.pipeline("line")

    def body(name: str) -> Any:
        def run(state: dict[str, Any], ctx: Context) -> dict[str, Any]:
            ran.append(name)
            ctx.cost(usd=0.5)
            if state.get("fails") == name:
                raise ValueError(f"{name} is broken")
            return {**state, name: 1}

        return run

    for name in STAGES:
        line.stage(name=name)(body(name))


class Site:
    """A run store that can be lost, and a log that is not."""

    def __init__(self, url: str, log: str) -> None:
        self.url, self.log = url, log
        self.ran: list[str] = []
        self.app = Milepost(
            url, checkpoints=log, settings=TaskSettings(max_crashes=1, heartbeat_lapse_seconds=2)
        )
        define(self.app, self.ran)

    def step(self, run: Run) -> str:
        head = run.head
        return self.app.runtime.engine.execute("line", head.step)

    def begun(self, run_id: str, steps: int = 2, **state: Any) -> Run:
        run = self.app.start("line", state, run_id=run_id, tags=("red",))
        for _ in range(steps):
            self.step(run)
        return run

    def finish(self, run: Run) -> Run:
        for _ in range(10):
            if run.status.ended:
                return run
            self.step(run)
        raise AssertionError(run.head)

    def reconcile(self) -> None:
        self.app.runtime.reconciler.look()

    def lose_runs(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.flushdb()

    def recover(self, **options: Any) -> dict[str, RunStatus | None]:
        found = self.app.runtime.rebuilder.rebuild(**options)
        return {each.run_id: each.status for each in found}

    def close(self) -> None:
        self.app.close()
        self.app.celery.close()
