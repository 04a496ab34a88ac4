"""A pipeline to be watched: it shows how far it has come, can be held up, and fails as it is told."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel

from milepost.tasks import Context, Milepost, PermanentError
from support.waiting import eventually

FOLDER = Path(os.environ.get("TEST_FOLDER", os.devnull))


class Parcel(BaseModel):
    """What is on its way. *held*: the name of a file for which packing waits after three of ten boxes."""

    held: str = ""
    broken: str = ""
    boxes: int = 0


app = Milepost()
parcels = app.pipeline("parcels")
# A burst is to be seen as single stages are.
express = app.pipeline("express", burst="1m")


@express.stage
@parcels.stage
def pick(state: Parcel) -> Parcel:
    """Nothing to it."""
    return state


@express.stage
@parcels.stage
def pack(state: Parcel, ctx: Context) -> Parcel:
    """Ten boxes."""
    for box in ctx.track(range(10), every=0):
        if box == 3 and state.held:
            eventually((FOLDER / state.held).exists, 60)
    return state.model_copy(update={"boxes": 10})


@express.stage
@parcels.stage
def ship(state: Parcel) -> Parcel:
    """Fail with *broken*, until somebody has mended it."""
    if state.broken and not (FOLDER / "mended").exists():
        raise PermanentError(state.broken)
    return state
