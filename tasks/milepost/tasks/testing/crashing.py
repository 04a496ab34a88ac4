"""A pipeline of yours, with a process that dies at each point of each of its stages in turn."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from milepost.checkpointing import CheckpointManager
from milepost.checkpointing.stores.memory import MemoryCheckpointStore

from ..faultpoints import POINTS, FaultPoints, Point
from ..head import Head, RunStatus, Step
from ..observer import Observers
from ..order import ordered
from ..outbox import Outbox
from ..pipeline import Pipeline
from ..runs import Push
from ..runs.memory import MemoryRunStore
from ..runtime import Runtime
from ..setbacks import StageFailed

_DELIVERIES = 1_000
"""So often a run's message is brought for each of its stages; who has not ended by then never does."""


@dataclass(frozen=True, slots=True)
class Survivor:
    """One run that has completed, though a process died in it."""

    stage: str | None
    """In which it died; None: in none, to compare with."""
    point: Point | None
    """How far that stage's step had come; see `milepost.tasks.faultpoints`."""
    repeated: bool
    """Whether the stage's body ran twice, as it does when the process dies before its commit is made."""
    state: Any
    """The last one."""


def crash_everywhere(
    pipeline: Pipeline, state: Any = None, *, same: Callable[[Any, Any], bool] = operator.eq
) -> Iterator[Survivor]:
    """Run a pipeline undisturbed, then once for each stage and point with a process that dies there.

    Yields each run when it has completed, so that what its stages did outside can be looked at in between.
    The engine, the commands and the recovery are the real ones; runs and checkpoints are kept in memory,
    there is no broker, and waits before a retry are skipped.

    Args:
        pipeline: As it is defined; its stages' functions are called in this thread.
        state: The input, as for `Pipeline.start`.
        same: Whether the last state after a crash is as good as the undisturbed one; by default, equal.

    Raises:
        AssertionError: A run did not complete, or came to another state.
    """
    with TemporaryDirectory(prefix="milepost-crashes-") as folder:
        site = _Site(pipeline, Path(folder))
        calm = site.run(state, None, same)
        yield calm
        for stage in pipeline.stages:
            for point in POINTS:
                if point in site.passed[stage]:
                    yield site.run(state, (stage, point), same, calm.state)


class _Died(BaseException):
    """The end of a process, in a thread that outlives it."""


class _NoBroker(Outbox):
    """Messages go nowhere: who drives the run brings them."""

    def render(self, task: str, step: Step, queue: str, priority: int) -> Push | None:
        return None

    def publish(self, task: str, step: Step, queue: str, priority: int) -> None:
        return

    def waiting(self, queue: str) -> int | None:
        return 0


class _Site:
    """Stores for all runs of one pipeline, and the processes that run them one after another."""

    def __init__(self, pipeline: Pipeline, folder: Path) -> None:
        self._pipeline = pipeline
        changes = {"lock_directory": folder, "blobs": None}
        self._settings = pipeline.app.settings.model_copy(update=changes)
        self._runs = MemoryRunStore(self._settings)
        # Apart from the runs, so that a process can die between the two.
        self._log = MemoryCheckpointStore()
        self.passed: dict[str, Counter[Point]] = {name: Counter() for name in pipeline.stages}

    def run(
        self,
        state: Any,
        crash: tuple[str, Point] | None,
        same: Callable[[Any, Any], bool],
        expected: Any = None,
    ) -> Survivor:
        """Run once; without a crash whatever comes out is right."""
        order = ordered(self._pipeline, state, None, {})
        passed = {name: Counter[Point]() for name in self._pipeline.stages}
        process = self._process(passed, crash)
        try:
            process.lifecycle.start(self._pipeline, order)
            for _ in range(_DELIVERIES * len(passed)):
                head = process.lifecycle.head(order.run_id)
                if head.status.ended or head.status is RunStatus.PAUSED:
                    break
                try:
                    self._deliver(process, head)
                except _Died:
                    self._runs.bury(process.owner.id, "child")
                    process.owner.close()
                    process = self._process(passed, None)
                    process.reconciler.look()
            where = f"dying in stage {crash[0]} at {crash[1]!r}" if crash else "undisturbed"
            head = process.lifecycle.head(order.run_id)
            assert head.status is RunStatus.COMPLETED, (
                f"A run of {self._pipeline.name}, {where}, is {head.status} at stage {head.stage}: "
                f"{head.error}"
            )
            last = process.lifecycle.state(head)
        finally:
            process.owner.close()
        if crash is None:
            self.passed = passed
            return Survivor(None, None, repeated=False, state=last)
        assert same(last, expected), (
            f"A run of {self._pipeline.name}, {where}, ended with {last!r}; undisturbed with {expected!r}."
        )
        return Survivor(
            *crash, repeated=passed[crash[0]]["ran"] > self.passed[crash[0]]["ran"], state=last
        )

    def _deliver(self, process: Runtime, head: Head) -> None:
        if head.status is RunStatus.SCHEDULED:
            process.lifecycle.retry(head.run_id)
        # What is failed for good shows in the head.
        with suppress(StageFailed):
            process.engine.execute(head.pipeline, process.lifecycle.head(head.run_id).step)

    def _process(
        self, passed: dict[str, Counter[Point]], crash: tuple[str, Point] | None
    ) -> Runtime:
        faultpoints = FaultPoints()

        def passing(point: Point) -> Callable[[str, str], None]:
            def pass_(run_id: str, stage: str) -> None:
                passed[stage][point] += 1
                if (stage, point) == crash:
                    raise _Died

            return pass_

        for point in POINTS:
            faultpoints.install(point, passing(point))
        app = self._pipeline.app
        return Runtime(
            app.celery,
            self._runs,
            CheckpointManager(self._log, self._settings, app.types),
            self._settings,
            faultpoints,
            app.versions,
            Observers(),
            outbox=_NoBroker(app.celery, push=False),
        )
