"""The figures of the flights example, worked out without Milepost."""

from __future__ import annotations

import pandas as pd

from examples.flights import (
    bands,
    ranking,
    state,
)
from examples.flights.delays import Delays

Row = dict[str, str]
Tables = dict[str, pd.DataFrame]
Joined = tuple[pd.DataFrame, pd.DataFrame]


def aggregate(delays: Delays) -> state.Aggregated:
    return state.Aggregated(
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
        files=[],
    )


def rank(flown: pd.DataFrame, daily: pd.DataFrame) -> state.Ranked:
    fit, routes = ranking.fit(flown), ranking.routes(flown)
    return state.Ranked(
        routes=routes.count,
        explained=round(100 * fit.explained, 2),
        carriers=ranking.carriers(flown, fit),
        ages=ranking.banded(flown, fit, "age", bands.AGE),
        visibility=ranking.banded(flown, fit, "visibility", bands.VISIBILITY),
        worst_routes=routes.worst,
        best_routes=routes.best,
        worst_days=ranking.worst_days(daily),
        longest=ranking.longest(flown),
    )


def broken(validated: state.Validated) -> dict[tuple[str, str], int]:
    return {(check.table, check.rule): check.failed for check in validated.checks if check.failed}
