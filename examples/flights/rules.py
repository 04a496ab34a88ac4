"""What a rule is, and the kinds of rule that hold for more than one column."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

Tables = dict[str, pd.DataFrame]

COLUMNS = {
    "flights": "year month day dep_time sched_dep_time dep_delay arr_time sched_arr_time arr_delay "
    "carrier flight tailnum origin dest air_time distance hour minute time_hour",
    "airlines": "carrier name",
    "airports": "faa name lat lon alt tz dst tzone",
    "planes": "tailnum year type manufacturer model engines seats speed engine",
    "weather": "origin year month day hour temp dewp humid wind_dir wind_speed wind_gust precip "
    "pressure visib time_hour",
}
TEXT = {"carrier", "name", "faa", "dst", "tzone", "tailnum", "type", "manufacturer", "model"} | {
    "engine",
    "origin",
    "dest",
    "time_hour",
}
KEYS = {
    "flights": ["time_hour", "carrier", "flight", "origin"],
    "airlines": ["carrier"],
    "airports": ["faa"],
    "planes": ["tailnum"],
    "weather": ["origin", "time_hour"],
}
AIRLINER_SEATS = 20
AIRLINER_TYPE = "Fixed wing multi engine"
FASTEST_WIND = 230


@dataclass(frozen=True)
class Rule:
    """What must hold of a table's rows, and the mask of the rows where it does not."""

    table: str
    says: str
    broken: Callable[[Tables], pd.Series]


def outside(table: str, column: str, low: float, high: float) -> Rule:
    """A rule that a number, where there is one, lies within two bounds, both included."""

    def broken(tables: Tables) -> pd.Series:
        values = tables[table][column]
        return values.notna() & ~values.between(low, high)

    return Rule(table, f"{column} lies between {low:g} and {high:g}", broken)


def known(table: str, column: str, other: str, key: str) -> Rule:
    """A rule that a value, where there is one, occurs in a column of another table."""

    def broken(tables: Tables) -> pd.Series:
        values = tables[table][column]
        return values.notna() & ~values.isin(tables[other][key])

    return Rule(table, f"{column} is listed in {other}", broken)


def airliner(planes: pd.DataFrame) -> pd.Series:
    """Whether a registered aircraft could have flown a scheduled service at all."""
    turbine = planes["engine"].str.startswith("Turbo")
    return turbine & (planes["type"] == AIRLINER_TYPE) & (planes["seats"] >= AIRLINER_SEATS)
