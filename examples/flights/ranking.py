"""Who and what is worst: carriers like for like, routes with their certainty, days, flights."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from . import bands, resampling
from .adjustment import Adjustment, adjust
from .delays import LATE, Labels, days, rounded
from .figures import Adjusted, Day, Longest, Route

TEN = 10
WEEKLY = 52


def fit(flown: pd.DataFrame) -> Adjustment:
    """The arrival delay by everything known when a flight is planned, and its weather."""
    cuts = {
        "rain": bands.RAIN,
        "visibility": bands.VISIBILITY,
        "wind": bands.WIND,
        "age": bands.AGE,
    }
    columns = ("carrier", "origin", "dest", "month", "weekday", "hour")
    factors = {name: flown[name] for name in columns}
    factors |= {name: cut.of(flown) for name, cut in cuts.items()}
    return adjust(flown["arr_delay"], factors)


def adjusted(
    adjustment: Adjustment,
    factor: str,
    values: pd.Series,
    delay: pd.Series,
    labels: Labels,
) -> list[Adjusted]:
    """Measured and like-for-like mean for each label that occurs, in the order of the labels."""
    measured = delay.groupby(values).agg(["size", "mean"])
    return [
        Adjusted(
            key=str(key),
            label=label,
            flown=int(measured["size"][key]),
            measured=rounded(measured["mean"][key]),
            adjusted=rounded(adjustment.mean + adjustment.effects[factor][key]),
        )
        for key, label in labels.items()
        if key in measured.index
    ]


def carriers(flown: pd.DataFrame, adjustment: Adjustment) -> list[Adjusted]:
    """Airlines by their like-for-like delay, the worst first."""
    names = flown.drop_duplicates("carrier").set_index("carrier")["airline"]
    rows = adjusted(adjustment, "carrier", flown["carrier"], flown["arr_delay"], dict(names))
    return sorted(rows, key=lambda row: (-row.adjusted, row.key))


def banded(
    flown: pd.DataFrame, adjustment: Adjustment, factor: str, cut: bands.Bands
) -> list[Adjusted]:
    """The bands of a column in their order, rows without a value left out."""
    labels: Labels = dict(enumerate(cut.labels))
    return adjusted(adjustment, factor, cut.of(flown), flown["arr_delay"], labels)


@dataclass(frozen=True)
class Routes:
    """Routes flown at least weekly: how many, the worst ten and the best ten."""

    count: int
    worst: list[Route]
    best: list[Route]


def routes(flown: pd.DataFrame) -> Routes:
    """Rank the routes by mean arrival delay and, in each resampled year, rank them again."""
    size = flown.groupby(["origin", "dest"])["arr_delay"].transform("size")
    table = flown[size >= WEEKLY]
    grouped = table.groupby(["origin", "dest"], sort=True)
    code = grouped.ngroup().to_numpy(np.intp)
    sampled = resampling.means(
        resampling.years(),
        code,
        days(table).to_numpy(np.intp),
        table["arr_delay"].to_numpy(np.float64),
    )
    low, high = resampling.bounds(sampled)
    # A route without a flight in a resampled year has no place in its ranking.
    upward = np.argsort(np.where(np.isnan(sampled), np.inf, sampled), axis=1, kind="stable")
    downward = np.argsort(np.where(np.isnan(sampled), np.inf, -sampled), axis=1, kind="stable")
    summary = grouped.agg(
        flown=("arr_delay", "size"),
        arrival=("arr_delay", "mean"),
        late=("arr_delay", lambda delay: 100 * (delay >= LATE).mean()),
        place=("place", "first"),
    ).reset_index()
    summary = summary.assign(low=low, high=high)

    def ten(order: pd.DataFrame, places: resampling.Ints) -> list[Route]:
        stays = 100 * np.bincount(places[:, :TEN].ravel(), minlength=len(summary)) / len(places)
        return [
            Route(
                origin=row.origin,
                dest=row.dest,
                place=row.place if isinstance(row.place, str) else row.dest,
                flown=int(row.flown),
                arrival=rounded(row.arrival),
                low=rounded(row.low),
                high=rounded(row.high),
                late=rounded(row.late),
                stays=rounded(stays[row.Index], 1),
            )
            for row in order.head(TEN).itertuples()
        ]

    return Routes(
        count=len(summary),
        worst=ten(summary.sort_values("arrival", ascending=False, kind="stable"), downward),
        best=ten(summary.sort_values("arrival", kind="stable"), upward),
    )


def worst_days(daily: pd.DataFrame) -> list[Day]:
    """The ten days with the highest mean arrival delay."""
    ordered = daily.sort_values(["arrival", "date"], ascending=[False, True]).head(TEN)
    return [
        Day(
            date=row.date,
            scheduled=int(row.scheduled),
            cancelled=rounded(row.cancelled),
            arrival=rounded(row.arrival),
        )
        for row in ordered.itertuples()
    ]


def longest(flown: pd.DataFrame) -> list[Longest]:
    """The five flights that arrived latest."""
    ordered = flown.sort_values(
        ["arr_delay", "date", "carrier", "flight"], ascending=[False, True, True, True]
    )
    columns = ["date", "carrier", "flight", "origin", "dest", "arr_delay"]
    return [
        Longest(
            date=row.date,
            carrier=row.carrier,
            flight=int(row.flight),
            origin=row.origin,
            dest=row.dest,
            arrival=int(row.arr_delay),
        )
        for row in ordered[columns].head(5).itertuples()
    ]
