"""The real data, read and worked on once for all tests of the flights example."""

import csv
import io
import zipfile

import pandas as pd
import pytest

from examples.flights import (
    chart,
    cleaning,
    joining,
    sources,
    state,
    summary,
    validation,
)
from examples.flights.delays import Delays

Row = dict[str, str]
Tables = dict[str, pd.DataFrame]
Joined = tuple[pd.DataFrame, pd.DataFrame]


@pytest.fixture(scope="module")
def published() -> list[Row]:
    """The flights as the csv module reads them, without pandas."""
    with zipfile.ZipFile(sources.locate("flights")) as archive, archive.open("flights.csv") as file:
        return list(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline="")))


@pytest.fixture(scope="module")
def tables() -> Tables:
    return {name: sources.read(name)[0] for name in sources.FILES}


@pytest.fixture(scope="module")
def validated(tables: Tables) -> state.Validated:
    return validation.validate(tables)


@pytest.fixture(scope="module")
def clean(tables: Tables) -> cleaning.Clean:
    return cleaning.clean(tables["flights"], tables["planes"], tables["weather"])


@pytest.fixture(scope="module")
def joined(tables: Tables, clean: cleaning.Clean) -> Joined:
    sides = (clean.weather, clean.planes, tables["airlines"], tables["airports"])
    return joining.join(clean.flown, *sides), joining.join(clean.dropped, *sides)


@pytest.fixture(scope="module")
def delays(joined: Joined) -> Delays:
    return Delays(*joined)


@pytest.fixture(scope="module")
def aggregated(delays: Delays) -> state.Aggregated:
    return summary.aggregated(delays, [])


@pytest.fixture(scope="module")
def ranked(joined: Joined, delays: Delays) -> state.Ranked:
    return summary.ranked(joined[0], delays.daily())


@pytest.fixture(scope="module")
def figures(delays: Delays, aggregated: state.Aggregated, ranked: state.Ranked) -> chart.Figures:
    return chart.Figures(
        overall=aggregated.overall,
        carriers=ranked.carriers,
        routes=ranked.worst_routes,
        hourly=delays.hourly(),
        visibility=aggregated.visibility,
        ages=ranked.ages,
        daily=delays.daily(),
    )


@pytest.fixture(scope="module")
def finished(
    tables: Tables,
    validated: state.Validated,
    clean: cleaning.Clean,
    joined: Joined,
    aggregated: state.Aggregated,
    ranked: state.Ranked,
) -> state.Flights:
    flown = joined[0]
    return state.Flights(
        name="2013",
        loaded=state.Loaded(
            flights=len(tables["flights"]),
            sources=[sources.read(name)[1] for name in ("airlines", "airports")],
            files=[],
        ),
        validated=validated,
        cleaned=state.Cleaned(
            rows_in=len(tables["flights"]),
            dropped=clean.drops,
            blanked=clean.blanks,
            rows_out=len(flown),
            files=[],
        ),
        joined=state.Joined(
            rows=len(flown),
            with_weather=int(flown["visib"].notna().sum()),
            with_aircraft=int(flown["seats"].notna().sum()),
            with_build_year=int(flown["built"].notna().sum()),
            with_destination=int(flown["place"].notna().sum()),
            missing=joining.missing(flown),
            files=[],
        ),
        aggregated=aggregated,
        ranked=ranked,
    )
