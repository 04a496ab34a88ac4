"""A Celery app that was there before: a task of its own, and a pipeline beside it."""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery

from acceptance.pipelines import Trail
from milepost.tasks import Context, Milepost
from support.ledger import Ledger
from support.waiting import eventually

app = Celery("shop", broker=os.environ["MILEPOST_URL"], set_as_current=False)
app.conf.update(
    broker_transport_options={"visibility_timeout": 2},
    task_default_queue="shop",
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
)
ledger = Ledger(Path(os.environ["TEST_LEDGER"]))
folder = Path(os.environ["TEST_FOLDER"])


@app.task(name="bill", acks_late=True, shared=False)
def bill(order: str) -> None:
    """Hang, the first time."""
    attempt = len(ledger.entries(order)) + 1
    ledger.append(order, "bill", attempt)
    if attempt == 1:
        eventually((folder / "continue").exists, 60)


durable = Milepost(app)
relay = durable.pipeline("relay")


@relay.stage
def first(state: Trail, ctx: Context) -> Trail:
    """Note the visit."""
    ledger.append(ctx.run_id, ctx.stage, ctx.attempt)
    return Trail(done=[*state.done, ctx.stage])


@relay.stage
def second(state: Trail, ctx: Context) -> Trail:
    """Hang, the first time."""
    ledger.append(ctx.run_id, ctx.stage, ctx.attempt)
    if ctx.attempt == 1:
        eventually((folder / "continue").exists, 60)
    return Trail(done=[*state.done, ctx.stage])
