"""What two stages hand on: every figure about delays, and every ranking."""

from collections.abc import Sequence

import pandas as pd

from . import bands, ranking
from .delays import Delays, rounded
from .record import Artifact
from .state import Aggregated, Ranked


def aggregated(delays: Delays, files: Sequence[Artifact]) -> Aggregated:
    """Work out the delays along every dimension; *files* hold the tables that go with them."""
    return Aggregated(
        overall=delays.overall(),
        carriers=delays.carriers(),
        origins=delays.origins(),
        months=delays.months(),
        weekdays=delays.weekdays(),
        hours=delays.hours(),
        rain=delays.by_band(bands.RAIN),
        visibility=delays.by_band(bands.VISIBILITY),
        wind=delays.by_band(bands.WIND),
        ages=delays.by_band(bands.AGE),
        files=list(files),
    )


def ranked(flown: pd.DataFrame, daily: pd.DataFrame) -> Ranked:
    """Rank airlines like for like, routes by resampling, days and flights as they were."""
    fit, routes = ranking.fit(flown), ranking.routes(flown)
    return Ranked(
        routes=routes.count,
        explained=rounded(100 * fit.explained),
        carriers=ranking.carriers(flown, fit),
        ages=ranking.banded(flown, fit, "age", bands.AGE),
        visibility=ranking.banded(flown, fit, "visibility", bands.VISIBILITY),
        worst_routes=routes.worst,
        best_routes=routes.best,
        worst_days=ranking.worst_days(daily),
        longest=ranking.longest(flown),
    )
