"""Dropping the flights that have no delay and blanking values that cannot be true."""

from dataclasses import dataclass

import pandas as pd

from . import clocks
from .record import Count
from .rules import FASTEST_WIND, airliner

CANCELLED = "cancelled"
DROPS = {
    CANCELLED: "cancelled: never left the gate",
    "lost": "diverted: no arrival recorded",
    "diverted": "diverted: arrived without an arrival delay",
    "fast": "more than 1.5 times as fast as usual on the route",
}
KEPT = [
    "date", "month", "weekday", "hour", "time_hour", "carrier", "flight", "tailnum", "origin",
    "dest", "dep_delay", "arr_delay", "air_time", "distance",
]  # fmt: skip


@dataclass(frozen=True)
class Clean:
    """The flights that were flown, those that were dropped, and the tables they refer to."""

    flown: pd.DataFrame
    dropped: pd.DataFrame
    planes: pd.DataFrame
    weather: pd.DataFrame
    drops: list[Count]
    blanks: list[Count]


def _fate(flights: pd.DataFrame) -> pd.Series:
    """Why each row must be dropped, the first reason winning; empty text if it may stay."""
    fate = pd.Series("", index=flights.index)
    # What comes later overwrites, so this is the order of DROPS backwards.
    for reason, rows in [
        ("fast", clocks.too_fast(flights)),
        ("diverted", flights["arr_delay"].isna()),
        ("lost", flights["arr_time"].isna()),
        (CANCELLED, flights["dep_time"].isna()),
    ]:
        fate = fate.mask(rows, reason)
    return fate


def _dated(flights: pd.DataFrame) -> pd.DataFrame:
    date = pd.to_datetime(flights[["year", "month", "day"]])
    return flights.assign(date=date.dt.strftime("%Y-%m-%d"), weekday=date.dt.day_of_week)


def clean(flights: pd.DataFrame, planes: pd.DataFrame, weather: pd.DataFrame) -> Clean:
    """Split the flights by what became of them and take out values proven wrong.

    A value is blanked where the flight itself is believable: a tail number that would have to
    be in two places, the data of a hobby aircraft that shares an airliner's registration, a
    wind beyond any ever measured.
    """
    flights = _dated(flights)
    fate = _fate(flights)
    counts = fate.value_counts()
    doubled = clocks.still_flying(flights)
    flights["tailnum"] = flights["tailnum"].mask(doubled)
    hobby = ~airliner(planes)
    gale = weather["wind_speed"] > FASTEST_WIND
    weather = weather.assign(wind_speed=weather["wind_speed"].mask(gale))
    flown = flights.loc[fate == "", KEPT].reset_index(drop=True)
    whole = ["dep_delay", "arr_delay", "air_time"]
    return Clean(
        flown=flown.astype(dict.fromkeys(whole, "int16")),
        dropped=flights.assign(fate=fate).loc[fate != "", [*KEPT, "fate"]].reset_index(drop=True),
        planes=planes[~hobby].reset_index(drop=True),
        weather=weather,
        drops=[Count(reason=text, rows=int(counts.get(key, 0))) for key, text in DROPS.items()],
        blanks=[
            Count(reason="tail number in the air twice at once", rows=int(doubled.sum())),
            Count(reason="listed aircraft that cannot be the airliner", rows=int(hobby.sum())),
            Count(reason=f"wind faster than {FASTEST_WIND} mph", rows=int(gale.sum())),
        ],
    )
