"""One long way: legs of many runs, and a reading at rest after each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import redis

from milepost.tasks import Milepost
from support.ledger import Ledger
from support.processes import Worker
from support.redis_server import RedisServer
from support.waiting import eventually

from .course import STAGES, Baton, build
from .gauge import Reading

_CHILDREN = 2
_KEPT_SECONDS = 2


def endure(
    folder: Path,
    legs: Iterable[Counter[str]],
    *,
    leg_s: float,
    tell: Callable[[str], None] = print,
) -> list[Reading]:
    """Run the legs one after another in one worker; return the readings, the first from before them.

    Args:
        legs: How many runs of which pipeline each has.
        leg_s: How long one may take.

    Raises:
        AssertionError: A run did not end within its leg, ended elsewhere than it has to, or what ended
            runs leave behind was not cleared away.
    """
    ledger = Ledger(folder / "ledger")
    with RedisServer() as server, redis.Redis.from_url(server.url) as client:
        env = {
            "MILEPOST_URL": server.url,
            "MILEPOST_RETENTION_SECONDS": str(_KEPT_SECONDS),
            "MILEPOST_LOCK_DIRECTORY": str(folder),
            "ENDURANCE_LEDGER": str(ledger.path),
        }
        app = build(env)
        try:
            with Worker("endurance.course", folder, env, concurrency=_CHILDREN) as worker:
                worker.wait_ready(180)  # its ten thousand stages are as many tasks
                readings = [Reading.take(0, worker, client)]
                for leg in legs:
                    _run(app, leg, ledger, leg_s)
                    _rest(app, leg_s)
                    done = readings[-1].stages + sum(STAGES[name] * n for name, n in leg.items())
                    readings.append(Reading.take(done, worker, client))
                    tell(str(readings[-1]))
                return readings
        finally:
            app.close()
            app.celery.close()


def _run(app: Milepost, leg: Counter[str], ledger: Ledger, leg_s: float) -> None:
    ledger.path.unlink(missing_ok=True)
    expected = {
        run.id: str(STAGES[name])
        for name, count in leg.items()
        for run in app.start_many(name, [Baton()] * count)
    }
    eventually(lambda: len(ledger.all()) >= len(expected), leg_s, "the end of all runs of a leg")
    assert {effect.run: effect.stage for effect in ledger.all()} == expected
    assert len(ledger.all()) == len(expected), "a last stage ran twice"


def _rest(app: Milepost, leg_s: float) -> None:
    def gone() -> bool:
        return sum(app.runs.counts().values()) == 0

    eventually(gone, leg_s, "the end of what ended runs leave behind")
