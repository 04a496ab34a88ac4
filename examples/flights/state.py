"""What one run of the flights pipeline knows: figures and file names, never tables."""

from typing import Annotated, TypeVar

from pydantic import Field

from .figures import Adjusted, Day, Group, Longest, Route
from .record import Artifact, Check, Count, Record, Source

Section = TypeVar("Section")
RunName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Loaded(Record):
    """The tables as published."""

    flights: int
    sources: list[Source]
    files: list[Artifact]


class Validated(Record):
    """Every rule that was put to the tables, broken or not."""

    passed: int
    broken: int
    checks: list[Check]


class Cleaned(Record):
    """Rows in, rows dropped by reason, values blanked by reason, rows out."""

    rows_in: int
    dropped: list[Count]
    blanked: list[Count]
    rows_out: int
    files: list[Artifact]


class Joined(Record):
    """How many of the flown rows found their weather, aircraft and destination."""

    rows: int
    with_weather: int
    with_aircraft: int
    with_build_year: int
    with_destination: int
    missing: list[Count]
    files: list[Artifact]


class Aggregated(Record):
    """Delays along every dimension; weather and age exclude flights where it is unknown."""

    overall: Group
    carriers: list[Group]
    origins: list[Group]
    months: list[Group]
    weekdays: list[Group]
    hours: list[Group]
    rain: list[Group]
    visibility: list[Group]
    wind: list[Group]
    ages: list[Group]
    files: list[Artifact]


class Ranked(Record):
    """The best and the worst, with how sure the order is."""

    routes: int
    explained: float
    carriers: list[Adjusted]
    ages: list[Adjusted]
    visibility: list[Adjusted]
    worst_routes: list[Route]
    best_routes: list[Route]
    worst_days: list[Day]
    longest: list[Longest]


class Plotted(Record):
    """The chart, once for a light page and once for a dark one."""

    width: int
    height: int
    light: Artifact
    dark: Artifact


class Reported(Record):
    """The self-contained page the counts it was audited by and the sentences it opens with."""

    page: Artifact
    audited: int
    findings: list[str]


class Flights(Record):
    """Input and state of the pipeline: a run's name, then one section per finished stage."""

    name: RunName
    loaded: Loaded | None = None
    validated: Validated | None = None
    cleaned: Cleaned | None = None
    joined: Joined | None = None
    aggregated: Aggregated | None = None
    ranked: Ranked | None = None
    plotted: Plotted | None = None
    reported: Reported | None = None


def finished(section: Section | None) -> Section:
    """A section that an earlier stage must have filled in, or a ValueError if it has not."""
    if section is None:
        raise ValueError("an earlier stage has not run")
    return section
