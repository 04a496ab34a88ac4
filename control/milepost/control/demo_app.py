"""The application of the demo's workers: yours, with one stage that waits behind its work to be killed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from milepost.tasks import Milepost

from .loading import load_app

APP, STAGE = "MILEPOST_DEMO_APP", "MILEPOST_DEMO_STAGE"
"""Variables by which the demo tells its workers."""
_HELD = "held"
_SECONDS = 30.0


def hold_no_more(home: Path) -> None:
    """Let every process pass from now on, also if the one to be killed has not come so far yet."""
    (home / _HELD).touch()


def build(name: str, stage: str, home: Path) -> Milepost:
    """Return the app of that name.

    However fast *stage* is, it is found running: who is the first to run it holds it before the commit,
    the worst moment to die at, until it is killed.
    """
    app = load_app(name)

    def hold(run_id: str, passing: str) -> None:
        if passing != stage:
            return
        try:
            (home / _HELD).touch(exist_ok=False)
        except FileExistsError:
            return
        threading.Event().wait(_SECONDS)

    app.faultpoints.install("ran", hold)
    return app


if APP in os.environ:
    app = build(os.environ[APP], os.environ[STAGE], Path(os.environ["MILEPOST_HOME"]))
