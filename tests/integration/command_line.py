"""A pipeline to command: stages that can be told to fail, run step by step in this process."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from milepost.tasks import Milepost, Run, RunStatus, TaskSettings
from milepost.tasks.setbacks import StageFailed
from support.waiting import eventually

STAGES = ["a", "b", "c", "d"]


class State(BaseModel):
    n: int = 0
    ran: list[str] = []
    broken: bool = False


class Line:
    """An app with the stages a, b, c and d; c fails while the state says that it is broken."""

    def __init__(self, url: str, **options: Any) -> None:
        self.app = Milepost(url, settings=TaskSettings(actor="ann"), **options)
        pipeline = self.app.pipeline("line")
        for name in STAGES:
            pipeline.stage(name=name)(self._body(name))
        self.pipeline = pipeline

    def _body(self, name: str) -> Any:
        def body(state: State) -> State:
            if name == "c" and state.broken:
                raise ValueError(f"broken at {state.n}")
            return state.model_copy(update={"n": state.n + 1, "ran": [*state.ran, name]})

        return body

    def start(self, **state: Any) -> Run:
        return self.pipeline.start(State(**state))

    def step(self, run: Run) -> str:
        head = run.head
        try:
            return self.app.runtime.engine.execute(head.pipeline, head.step)
        except StageFailed:
            return "failed"

    def steps(self, run: Run, count: int) -> Run:
        for _ in range(count):
            self.step(run)
        return run

    def finish(self, run: Run) -> State:
        while not run.status.ended:
            self.step(run)
        assert run.status is RunStatus.COMPLETED
        state: State = run.state
        return state

    def pass_leases(self, run: Run) -> None:
        """Look until the reconciler has dealt with what was begun."""

        def over() -> bool:
            self.app.runtime.reconciler.look()
            return run.status is not RunStatus.REDIRECTING

        eventually(over, 20)
