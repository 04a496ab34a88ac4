"""What is run for long: relays of many short stages, and one marathon that has them all in one run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from milepost.tasks import Context, Milepost
from support.app_settings import settings_of
from support.ledger import Ledger

RELAY, HOPS, MARATHON = "relay", "hops", "marathon"
STAGES = {RELAY: 100, HOPS: 100, MARATHON: 10_000}
"""Relays go in bursts, hops with a task for each stage."""
_KEPT = 10


class Baton(BaseModel):
    """How far it was carried; 1 KB in all."""

    carried: int = 0
    weight: str = "x" * 1000


def build(env: Mapping[str, str]) -> Milepost:
    """Return the app; ``ENDURANCE_LEDGER`` is where runs note their end."""
    app = Milepost(settings=settings_of(env))
    ledger = Ledger(Path(env["ENDURANCE_LEDGER"]))

    def carry(state: Baton, ctx: Context) -> Baton:
        state.carried += 1
        return state

    def arrive(state: Baton, ctx: Context) -> Baton:
        ledger.append(ctx.run_id, str(state.carried + 1), ctx.attempt)
        return state

    for name, count in STAGES.items():
        pipeline = app.pipeline(name, keep=_KEPT, burst=0 if name == HOPS else "1s")
        for number in range(1, count):
            pipeline.stage(name=f"leg{number}")(carry)
        pipeline.stage(name="finish")(arrive)
    return app


if "ENDURANCE_LEDGER" in os.environ:
    app = build(os.environ)
