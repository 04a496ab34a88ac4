"""Delay figures of the flights by carrier, airport, time, weather and aircraft age."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from . import bands, resampling
from .cleaning import CANCELLED
from .figures import Group

Labels = Mapping[Any, str]

LATE = 15
MONTHS = "January February March April May June July August September October November December"
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
ORIGINS = {"EWR": "Newark", "JFK": "Kennedy", "LGA": "LaGuardia"}


def rounded(value: float, digits: int = 2) -> float:
    """The value rounded, with a negative zero made positive."""
    return round(float(value), digits) + 0.0


def days(flights: pd.DataFrame) -> pd.Series:
    """The day of the year each flight was scheduled to leave, from 0."""
    return pd.to_datetime(flights["date"]).dt.day_of_year - 1


class Delays:
    """The joined flights, flown and dropped, with the resampled years their bounds come from."""

    def __init__(self, flown: pd.DataFrame, dropped: pd.DataFrame) -> None:
        self.flown = flown
        self.dropped = dropped
        self.years = resampling.years()
        self.day = days(flown).to_numpy(np.intp)

    def by(self, flown: pd.Series, dropped: pd.Series, labels: Labels) -> list[Group]:
        """One group for each label that has a flown flight, in the order of the labels.

        The series give the key of each flown and each dropped flight; keys without a label,
        such as the -1 of unknown weather, are left out.
        """
        keys = list(labels)
        here = pd.Index(keys).get_indexer(flown)
        gone = pd.Index(keys).get_indexer(dropped)
        known = here >= 0
        table = self.flown[known]
        present, code = np.unique(here[known], return_inverse=True)
        arrivals = table["arr_delay"].to_numpy(np.float64)
        sampled = resampling.means(self.years, code, self.day[known], arrivals)
        low, high = resampling.bounds(sampled)
        lost = np.bincount(gone[gone >= 0], minlength=len(keys))
        off = (self.dropped["fate"] == CANCELLED).to_numpy() & (gone >= 0)
        cancelled = np.bincount(gone[off], minlength=len(keys))
        groups = []
        for position, rows in table.groupby(code, sort=True):
            number = present[position]
            scheduled = len(rows) + int(lost[number])
            groups.append(
                Group(
                    key=str(keys[number]),
                    label=labels[keys[number]],
                    scheduled=scheduled,
                    cancelled=rounded(100 * cancelled[number] / scheduled),
                    flown=len(rows),
                    departure=rounded(rows["dep_delay"].mean()),
                    arrival=rounded(rows["arr_delay"].mean()),
                    low=rounded(low[position]),
                    high=rounded(high[position]),
                    median=rounded(rows["arr_delay"].median()),
                    worst_tenth=rounded(rows["arr_delay"].quantile(0.9)),
                    late=rounded(100 * (rows["arr_delay"] >= LATE).mean()),
                )
            )
        return groups

    def by_column(self, column: str, labels: Labels) -> list[Group]:
        """Groups by the values of a column that flown and dropped flights share."""
        return self.by(self.flown[column], self.dropped[column], labels)

    def by_band(self, cut: bands.Bands) -> list[Group]:
        """Groups by the bands of a column."""
        labels: Labels = dict(enumerate(cut.labels))
        return self.by(cut.of(self.flown), cut.of(self.dropped), labels)

    def overall(self) -> Group:
        """All flights as one group."""
        all_flown = pd.Series("all", index=self.flown.index)
        [group] = self.by(
            all_flown, pd.Series("all", index=self.dropped.index), {"all": "All flights"}
        )
        return group

    def carriers(self) -> list[Group]:
        """Groups by airline, the most delayed first."""
        names = self.flown[["carrier", "airline"]].drop_duplicates().sort_values("carrier")
        labels: Labels = dict(zip(names["carrier"], names["airline"], strict=True))
        groups = self.by_column("carrier", labels)
        return sorted(groups, key=lambda group: (-group.arrival, group.key))

    def origins(self) -> list[Group]:
        """Groups by airport of departure."""
        return self.by_column("origin", ORIGINS)

    def months(self) -> list[Group]:
        """Groups by month."""
        return self.by_column("month", _numbered(MONTHS.split(), first=1))

    def weekdays(self) -> list[Group]:
        """Groups by day of the week."""
        return self.by_column("weekday", _numbered(WEEKDAYS.split(), first=0))

    def hours(self) -> list[Group]:
        """Groups by local hour of scheduled departure."""
        return self.by_column("hour", {hour: f"{hour:02d}:00" for hour in range(24)})

    def daily(self) -> pd.DataFrame:
        """A row a day: date, flights scheduled, percentage cancelled, mean arrival delay."""
        flown = self.flown.groupby("date")["arr_delay"].agg(["size", "mean"])
        dropped = self.dropped.groupby("date").size().reindex(flown.index, fill_value=0)
        off = self.dropped[self.dropped["fate"] == CANCELLED].groupby("date").size()
        scheduled = flown["size"] + dropped
        return pd.DataFrame(
            {
                "date": flown.index,
                "scheduled": scheduled.to_numpy(),
                "cancelled": (100 * off.reindex(flown.index, fill_value=0) / scheduled).to_numpy(),
                "arrival": flown["mean"].to_numpy(),
            }
        )

    def hourly(self) -> pd.DataFrame:
        """Rows of origin, hour and mean departure delay, for hours with 300 flights or more."""
        cells = self.flown.groupby(["origin", "hour"])["dep_delay"].agg(["size", "mean"])
        return cells[cells["size"] >= 300]["mean"].rename("departure").reset_index()


def _numbered(names: Sequence[str], first: int) -> Labels:
    return dict(enumerate(names, first))
