"""Giving every flight its weather, aircraft, airline and destination."""

import pandas as pd

from .record import Count

WEATHER = ["origin", "time_hour", "wind_speed", "precip", "visib"]


def join(
    flights: pd.DataFrame,
    weather: pd.DataFrame,
    planes: pd.DataFrame,
    airlines: pd.DataFrame,
    airports: pd.DataFrame,
) -> pd.DataFrame:
    """The flights in their order, one row each, widened; what is not listed stays missing.

    Weather is that of the airport of departure in the hour of scheduled departure.
    """
    sides = [
        (weather[WEATHER], ["origin", "time_hour"]),
        (planes[["tailnum", "year", "seats"]].rename(columns={"year": "built"}), ["tailnum"]),
        (airlines.rename(columns={"name": "airline"}), ["carrier"]),
        (airports[["faa", "name"]].rename(columns={"faa": "dest", "name": "place"}), ["dest"]),
    ]
    joined = flights
    for side, keys in sides:
        joined = joined.merge(side, on=keys, how="left", validate="many_to_one")
    return joined.assign(age=2013 - joined["built"])


def missing(joined: pd.DataFrame) -> list[Count]:
    """Why flights lack their weather, aircraft, age or destination."""
    tail, listed, built = (joined[name].notna() for name in ("tailnum", "seats", "built"))
    blind = joined["visib"].isna()
    last = joined["date"] == "2013-12-31"
    return [
        Count(
            reason="weather not recorded on the last day of the year",
            rows=int((blind & last).sum()),
        ),
        Count(reason="weather not recorded in that hour", rows=int((blind & ~last).sum())),
        Count(reason="tail number unknown or blanked", rows=int((~tail).sum())),
        Count(reason="aircraft not listed, or not an airliner", rows=int((tail & ~listed).sum())),
        Count(reason="year of manufacture not listed", rows=int((listed & ~built).sum())),
        Count(reason="destination not listed", rows=int(joined["place"].isna().sum())),
    ]
