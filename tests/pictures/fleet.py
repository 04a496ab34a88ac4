"""What the fleet in the pictures runs: the flights of 2013, and invoices, some of which fail."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel

from examples.flights import app
from milepost.tasks import Context
from support.waiting import eventually

FOLDER = Path(os.environ.get("PICTURES_FOLDER", os.devnull))


class Invoices(BaseModel):
    """A month's; *broken* says that the post office is away."""

    month: str
    broken: bool = False
    sent: int = 0


invoices = app.pipeline("invoices")


@invoices.stage
def collect(state: Invoices) -> Invoices:
    """Nothing to it."""
    return state


@invoices.stage
def render(state: Invoices, ctx: Context) -> Invoices:
    """Hold still at 74 of 120, for the picture, in November."""
    for number in ctx.track(range(120), every=0):
        if number == 74 and state.month == "11":
            eventually((FOLDER / "go-on").exists, 100)
    return state


@invoices.stage
def send(state: Invoices) -> Invoices:
    """Fail while the post office is away."""
    if state.broken and not (FOLDER / "mended").exists():
        raise ConnectionRefusedError("mail.example.com:25 refused the connection")
    return state.model_copy(update={"sent": 120})
