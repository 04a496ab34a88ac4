"""What the runs of a storm do: eight stages that note each of their effects."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

from pydantic import BaseModel

from milepost.tasks import Context, Milepost
from support.app_settings import settings_of
from support.ledger import Ledger

PIPELINE = "voyage"
STAGES = tuple(f"leg{number}" for number in range(1, 9))
_ITEMS = 5


class Cargo(BaseModel):
    """The stages that led here, and the sum of what they counted."""

    done: list[str] = []
    total: int = 0


def arrived() -> Cargo:
    """What every run has to come to."""
    return Cargo(done=[*STAGES], total=len(STAGES) * sum(range(_ITEMS)))


def build(env: Mapping[str, str]) -> Milepost:
    """Return the app; ``STORM_LEDGER`` and ``STORM_BURST`` are ours."""
    app = Milepost(settings=settings_of(env))
    ledger = Ledger(Path(env["STORM_LEDGER"]))
    voyage = app.pipeline(PIPELINE, burst=env.get("STORM_BURST", 0))

    def sail(state: Cargo, ctx: Context) -> Cargo:
        ledger.append(ctx.run_id, ctx.stage, ctx.attempt)
        # Between 15 and 330 ms of work, as long for every try: so much that many who are struck are at work.
        pace = (crc32(f"{ctx.run_id}/{ctx.stage}".encode()) % 20 + 1) / 300
        counted = ctx.progress or {"total": 0}
        for item in ctx.track(range(_ITEMS), every=0.02, value=counted):
            time.sleep(pace)
            counted["total"] += item

        def pay() -> str:
            ledger.append(ctx.run_id, f"{ctx.stage} once", ctx.attempt)
            return "paid"

        ctx.once("pay", pay)
        ledger.append(ctx.run_id, f"{ctx.stage} plain", ctx.attempt)
        return Cargo(done=[*state.done, ctx.stage], total=state.total + counted["total"])

    for name in STAGES:
        voyage.stage(name=name)(sail)
    return app


if "STORM_LEDGER" in os.environ:
    app = build(os.environ)
