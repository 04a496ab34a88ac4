"""The rules the published tables are held to."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from . import clocks
from .rules import FASTEST_WIND, Rule, Tables, airliner, known, outside

EARTH_MILES = 3958.8


def great_circle(tables: Tables) -> pd.Series:
    """Miles over the ground between each flight's airports, missing where one is not listed."""
    flights = tables["flights"]
    places = np.radians(tables["airports"].set_index("faa")[["lat", "lon"]])
    here = places.reindex(flights["origin"]).to_numpy()
    there = places.reindex(flights["dest"]).to_numpy()
    half = np.sin((there - here) / 2) ** 2
    chord = half[:, 0] + np.cos(here[:, 0]) * np.cos(there[:, 0]) * half[:, 1]
    return pd.Series(2 * EARTH_MILES * np.arcsin(np.sqrt(chord)), index=flights.index)


def _calendar(tables: Tables) -> pd.Series:
    flights = tables["flights"]
    local = clocks.instants(flights["time_hour"]).dt.tz_convert(clocks.NEW_YORK).dt
    parts = {"year": local.year, "month": local.month, "day": local.day, "hour": local.hour}
    return pd.concat([flights[name] != part for name, part in parts.items()], axis=1).any(axis=1)


def _clock(scheduled: str, real: str, delay: str) -> Callable[[Tables], pd.Series]:
    def broken(tables: Tables) -> pd.Series:
        flights = tables["flights"]
        gap = clocks.minutes(flights[real]) - clocks.minutes(flights[scheduled]) - flights[delay]
        return gap.notna() & (gap % clocks.DAY != 0)

    return broken


def _time_of_day(column: str) -> Callable[[Tables], pd.Series]:
    return lambda tables: ~clocks.valid(tables["flights"][column])


def _elapsed(tables: Tables) -> pd.Series:
    flights = tables["flights"]
    zones = flights["dest"].map(tables["airports"].set_index("faa")["tzone"])
    return clocks.gate_to_gate(flights, zones) <= flights["air_time"]


def _distances(tables: Tables) -> pd.Series:
    routes = tables["flights"].groupby(["origin", "dest"])["distance"]
    return routes.transform("nunique") > 1


FLIGHTS = [
    Rule("flights", "the date and hour agree with time_hour in New York", _calendar),
    Rule(
        "flights",
        "hour and minute agree with the scheduled departure",
        lambda t: t["flights"].eval("hour * 100 + minute != sched_dep_time"),
    ),
    *(
        Rule("flights", f"{name} is a time of day", _time_of_day(name))
        for name in ("sched_dep_time", "dep_time", "sched_arr_time", "arr_time")
    ),
    Rule(
        "flights",
        "the departure delay is the difference of the two clocks",
        _clock("sched_dep_time", "dep_time", "dep_delay"),
    ),
    Rule(
        "flights",
        "the arrival delay is the difference of the two clocks",
        _clock("sched_arr_time", "arr_time", "arr_delay"),
    ),
    Rule("flights", "the time in the air is shorter than from gate to gate", _elapsed),
    outside("flights", "dep_delay", -60, 1440),
    outside("flights", "arr_delay", -120, 1440),
    outside("flights", "air_time", 15, 720),
    Rule(
        "flights",
        "no arrival without a departure",
        lambda t: t["flights"]["dep_time"].isna() & t["flights"]["arr_time"].notna(),
    ),
    Rule(
        "flights",
        "what departed also has an arrival delay",
        lambda t: t["flights"]["dep_time"].notna() & t["flights"]["arr_delay"].isna(),
    ),
    Rule("flights", "a flight has a tail number", lambda t: t["flights"]["tailnum"].isna()),
    Rule(
        "flights",
        "a tail number is an American registration",
        lambda t: (
            t["flights"]["tailnum"].notna()
            & ~t["flights"]["tailnum"].str.fullmatch(r"N[1-9][0-9A-Z]{1,4}", na=False)
        ),
    ),
    Rule(
        "flights",
        "a flight number is used once a day",
        lambda t: t["flights"].duplicated(["month", "day", "carrier", "flight"]),
    ),
    Rule(
        "flights",
        "the distance is the great circle to within 1 %",
        lambda t: (t["flights"]["distance"] / great_circle(t) - 1).abs() > 0.01,
    ),
    Rule("flights", "a route has one distance all year", _distances),
    Rule(
        "flights",
        "an aircraft does not depart while it is in the air",
        lambda t: clocks.still_flying(t["flights"]),
    ),
    Rule(
        "flights",
        "the speed is less than 1.5 times what is usual on the route",
        lambda t: clocks.too_fast(t["flights"]),
    ),
    known("flights", "carrier", "airlines", "carrier"),
    known("flights", "origin", "airports", "faa"),
    known("flights", "dest", "airports", "faa"),
    known("flights", "tailnum", "planes", "tailnum"),
]
OTHERS = [
    outside("airports", "lat", -90, 90),
    outside("airports", "lon", -180, 180),
    Rule("airports", "the time zone is known", lambda t: t["airports"]["tzone"].isna()),
    outside("planes", "year", 1950, 2013),
    Rule("planes", "the year of manufacture is known", lambda t: t["planes"]["year"].isna()),
    Rule("planes", "the aircraft is an airliner", lambda t: ~airliner(t["planes"])),
    Rule(
        "weather",
        "an hour on the local clock comes once",
        lambda t: t["weather"].duplicated(["origin", "month", "day", "hour"]),
    ),
    outside("weather", "temp", -40, 120),
    outside("weather", "humid", 0, 100),
    outside("weather", "wind_speed", 0, FASTEST_WIND),
    outside("weather", "precip", 0, 12),
    outside("weather", "pressure", 870, 1085),
    outside("weather", "visib", 0, 10),
    Rule(
        "weather",
        "the dew point is no higher than the temperature",
        lambda t: t["weather"].eval("dewp > temp"),
    ),
    Rule(
        "weather",
        "a gust is faster than the wind",
        lambda t: t["weather"].eval("wind_gust < wind_speed"),
    ),
    Rule("weather", "the pressure was measured", lambda t: t["weather"]["pressure"].isna()),
]
