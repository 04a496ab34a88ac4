"""Arithmetic on the clock times of the timetable, which are numbers such as 1745 for 17:45."""

import pandas as pd

NEW_YORK = "America/New_York"
DAY = 24 * 60


def minutes(clock: pd.Series) -> pd.Series:
    """Minutes since midnight; the data write midnight as 2400."""
    return clock // 100 * 60 + clock % 100


def valid(clock: pd.Series) -> pd.Series:
    """Whether each number is a time of day; a missing one is not judged and counts as valid."""
    return clock.isna() | (clock.between(0, 2400) & (clock % 100 < 60))


def instants(time_hour: pd.Series) -> pd.Series:
    """The hour of scheduled departure as an instant in UTC."""
    return pd.to_datetime(time_hour, format="%Y-%m-%dT%H:%M:%SZ", utc=True)


def departures(flights: pd.DataFrame) -> pd.Series:
    """The instant in UTC each flight really left the gate, missing if it never did."""
    hour = instants(flights["time_hour"])
    late = pd.to_timedelta(flights["minute"] + flights["dep_delay"], unit="min")
    return hour + late


def offsets(moments: pd.Series, zones: pd.Series) -> pd.Series:
    """Minutes that local time in each row's zone is ahead of UTC; missing without a zone."""
    result = pd.Series(float("nan"), index=moments.index)
    naive = moments.dt.tz_localize(None)
    for zone, rows in moments.groupby(zones).groups.items():
        local = moments.loc[rows].dt.tz_convert(zone).dt.tz_localize(None)
        result.loc[rows] = (local - naive.loc[rows]).dt.total_seconds() / 60
    return result


def gate_to_gate(flights: pd.DataFrame, zones: pd.Series) -> pd.Series:
    """Minutes from leaving one gate to reaching the other, given each destination's zone."""
    hour = instants(flights["time_hour"])
    home = offsets(hour, pd.Series(NEW_YORK, index=flights.index))
    shift = offsets(hour, zones) - home
    return (minutes(flights["arr_time"]) - minutes(flights["dep_time"]) - shift) % DAY


def still_flying(flights: pd.DataFrame) -> pd.Series:
    """Rows whose aircraft leaves New York again before its flight before has come down.

    Both flights of such a pair are marked, for nothing tells which tail number is wrong.  The
    flight back is not counted, so this finds only what cannot have happened at all.
    """
    flown = flights[flights["air_time"].notna() & flights["tailnum"].notna()]
    order = pd.DataFrame(
        {
            "tailnum": flown["tailnum"],
            "up": departures(flown),
            "air": pd.to_timedelta(flown["air_time"], unit="min"),
        }
    ).sort_values(["tailnum", "up"], kind="stable")
    same = order["tailnum"] == order["tailnum"].shift()
    second = same & (order["up"] < (order["up"] + order["air"]).shift())
    first = second.shift(-1, fill_value=False)
    return (first | second).reindex(flights.index, fill_value=False)


def too_fast(flights: pd.DataFrame) -> pd.Series:
    """Rows at more than one and a half times the median speed of their route.

    A tailwind and a straight approach explain a good deal less than that, so the recorded air
    time must be wrong.
    """
    speed = flights["distance"] / flights["air_time"]
    usual = speed.groupby([flights["origin"], flights["dest"]]).transform("median")
    return speed > 1.5 * usual
