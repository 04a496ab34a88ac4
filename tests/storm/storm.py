"""One storm: runs are started, faults happen by lot, and everything has to come to its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

from milepost.tasks import Run
from support.waiting import eventually

from .account import Account, settle
from .cargo import PIPELINE, Cargo
from .faults import Faults, Strike
from .fleet import Fleet, Places


def storm(
    folder: Path,
    seed: int,
    *,
    places: Places,
    runs: int,
    faults: int,
    pause_s: tuple[float, float] = (0.2, 2.0),
    calm_s: float = 60.0,
) -> Account:
    """Let *runs* runs live through *faults* faults, and tell what came of them.

    Args:
        pause_s: How long it is quiet between two faults, at least and at most. That is the schedule; nothing
            is waited for in it.
        calm_s: How long it takes, when the faults are over, until what does not go on is lost.
    """
    random = Random(seed)
    burst = random.choice(["0s", "200ms", "1m"])
    quiet = threading.Event()
    with Fleet(folder, places, burst) as fleet, fleet.app() as app:
        # Those that are started between the faults come to a fleet which is in trouble already.
        started: list[Run] = [app.start(PIPELINE, Cargo()) for _ in range(runs // 2)]
        strikes: list[Strike] = []
        lots = Faults(fleet, random)
        for number in range(faults):
            quiet.wait(random.uniform(*pause_s))
            strikes.append(lots.strike())
            fleet.restart_dead()
            more = runs * (number + 1) // faults - len(started)
            started += [app.start(PIPELINE, Cargo()) for _ in range(more)]
        lots.end()

        def over() -> bool:
            fleet.restart_dead()
            counts = app.runs.counts()
            return sum(n for (_, status), n in counts.items() if status.ended) == len(started)

        # The account says which have not ended.
        with suppress(AssertionError):
            while not over():
                begun = fleet.ledger.size
                eventually(
                    partial(_goes_on, fleet, begun, over), calm_s, "the next stage of any run"
                )
        return settle(started, fleet.ledger, strikes)


def _goes_on(fleet: Fleet, begun: int, over: Callable[[], bool]) -> bool:
    return over() or fleet.ledger.size > begun
