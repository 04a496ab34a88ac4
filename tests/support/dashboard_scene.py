"""Pipelines, runs and a fleet for tests and pictures of the dashboard; runs move in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from pydantic import BaseModel

from milepost.tasks import Context, Milepost, Retry, RunStatus
from milepost.tasks.setbacks import StageFailed
from milepost.tasks.settings import TaskSettings


class Order(BaseModel):
    """What an invoice begins with, and becomes."""

    customer: str
    lines: list[str] = []
    total: float = 0.0
    paid: bool = False


class Text(BaseModel):
    """A state that may hold anything."""

    text: str = ""
    fixed: bool = False


def build(url: str, **stores: str) -> Milepost:
    """Return an app with two pipelines of which some runs fail."""
    app = Milepost(url, settings=TaskSettings(heartbeat_lapse_seconds=2.0), **stores)
    add_pipelines(app)
    return app


def add_pipelines(app: Milepost) -> None:
    """Define them."""
    invoices = app.pipeline("invoices", version="3")

    @invoices.stage
    def collect(state: Order, ctx: Context) -> Order:
        ctx.cost(usd=0.004)
        return state.model_copy(update={"lines": ["2 × crossing", "1 × berth"], "total": 184.5})

    @invoices.stage(retry=Retry(attempts=2, backoff="1ms"))
    def charge(state: Order, ctx: Context) -> Order:
        ctx.cost(usd=0.011)
        if state.customer.startswith("blocked"):
            raise ConnectionError(f"card processor answered 402 for '{state.customer}'")
        if state.customer.startswith("odd"):
            raise ValueError("total 184.5 does not match ledger 183.9")
        return state.model_copy(update={"paid": True})

    @invoices.stage
    def send(state: Order) -> Order:
        return state

    texts = app.pipeline("texts")

    @texts.stage
    def first(state: Text) -> Text:
        return state

    @texts.stage
    def second(state: Text) -> Text:
        if not state.fixed:
            raise RuntimeError(state.text)
        return state


def work(app: Milepost, run_id: str, steps: int = 20) -> None:
    """Do what is due of a run, until it ends or waits for somebody."""
    for _ in range(steps):
        head = app.runs.get(run_id)
        if head is None or head.status.ended or head.status is RunStatus.PAUSED:
            return
        if head.status is RunStatus.SCHEDULED:
            time.sleep(0.005)
            app.runs.look()
            continue
        with suppress(StageFailed):
            app.runtime.engine.execute(head.pipeline, head.step)


@dataclass
class StubWorker:
    """What the dashboard shows of a worker."""

    name: str
    host: str
    pid: int
    pool: str = "prefork"
    concurrency: int = 4
    queues: tuple[str, ...] = ("milepost",)
    started_at: int = field(default_factory=lambda: int(time.time() * 1000) - 7_500_000)
    seen_at: int = field(default_factory=lambda: int(time.time() * 1000) - 900)
    state: str = "up"
    versions: dict[str, str] = field(default_factory=lambda: {"flights": "1", "invoices": "3"})
    holding: tuple[str, ...] = ()


@dataclass
class StubQueue:
    """What the dashboard shows of a queue."""

    name: str
    depth: int | None = 0
    age_seconds: float | None = 0.0
    paused: bool = False
    paused_by: str = ""
    workers: int = 2


class StubFleet:
    """Workers and queues that remember what they were told."""

    def __init__(self, workers: list[StubWorker], queues: list[StubQueue]) -> None:
        self._workers = workers
        self._queues = queues
        self.told: list[tuple[str, str, str]] = []

    def workers(self) -> list[StubWorker]:
        """Return the workers, of whom all were just heard of."""
        now = int(time.time() * 1000)
        return [replace(worker, seen_at=now - 900) for worker in self._workers]

    def queues(self, workers: object = None) -> list[StubQueue]:
        """Return the queues."""
        return self._queues

    def drain(self, name: str, by: str) -> None:
        """Remember it."""
        self.told.append(("drain", name, by))
        self._workers = [
            replace(worker, state="draining") if worker.name == name else worker
            for worker in self._workers
        ]

    def pause_queue(self, name: str, by: str) -> None:
        """Remember it."""
        self._set(name, True)
        self.told.append(("pause", name, by))

    def resume_queue(self, name: str, by: str) -> None:
        """Remember it."""
        self._set(name, False)
        self.told.append(("resume", name, by))

    def _set(self, name: str, paused: bool) -> None:
        self._queues = [
            replace(queue, paused=paused) if queue.name == name else queue for queue in self._queues
        ]


@contextmanager
def working(app: Milepost, run_ids: list[str]) -> Iterator[None]:
    """Do what becomes due of some runs in the background, as a worker does."""
    stop = threading.Event()

    def serve() -> None:
        while not stop.wait(0.02):
            for run_id in run_ids:
                work(app, run_id, 1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
