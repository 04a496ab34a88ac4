import csv
import io
import os
import struct
import zipfile
import zlib
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from examples.flights import (
    artifacts,
    audit,
    bands,
    chart,
    cleaning,
    findings,
    joining,
    page,
    ranking,
    sources,
    state,
    validation,
)
from examples.flights.delays import Delays
from examples.flights.record import Artifact, Count
from examples.flights.theme import DARK, LIGHT

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


@pytest.fixture(scope="module")
def aggregated(delays: Delays) -> state.Aggregated:
    return aggregate(delays)


@pytest.fixture(scope="module")
def ranked(joined: Joined, delays: Delays) -> state.Ranked:
    return rank(joined[0], delays.daily())


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


def broken(validated: state.Validated) -> dict[tuple[str, str], int]:
    return {(check.table, check.rule): check.failed for check in validated.checks if check.failed}


def test_reads_every_published_flight(tables: Tables, published: list[Row]) -> None:
    assert len(published) == 336_776
    assert len(tables["flights"]) == 336_776


def test_drops_cancelled_and_diverted_flights_and_nothing_unexplained(
    clean: cleaning.Clean, published: list[Row]
) -> None:
    cancelled = sum(row["dep_time"] == "NA" for row in published)
    lost = sum(row["dep_time"] != "NA" and row["arr_time"] == "NA" for row in published)
    diverted = sum(row["arr_time"] != "NA" and row["arr_delay"] == "NA" for row in published)
    assert [count.rows for count in clean.drops] == [cancelled, lost, diverted, 9]
    assert (cancelled, lost, diverted) == (8_255, 458, 717)
    assert len(clean.flown) + len(clean.dropped) == len(published)
    assert len(clean.dropped) == sum(count.rows for count in clean.drops)


def test_validation_counts_what_the_csv_module_counts(
    validated: state.Validated, published: list[Row], tables: Tables
) -> None:
    found = broken(validated)
    tails = set(tables["planes"]["tailnum"])
    airports = set(tables["airports"]["faa"])
    distances: dict[tuple[str, str], set[str]] = defaultdict(set)
    uses: Counter[tuple[str, ...]] = Counter()
    for row in published:
        distances[row["origin"], row["dest"]].add(row["distance"])
        uses[row["month"], row["day"], row["carrier"], row["flight"]] += 1
    assert found["flights", "dest is listed in airports"] == sum(
        row["dest"] not in airports for row in published
    )
    assert found["flights", "tailnum is listed in planes"] == sum(
        row["tailnum"] != "NA" and row["tailnum"] not in tails for row in published
    )
    assert found["flights", "a route has one distance all year"] == sum(
        len(distances[row["origin"], row["dest"]]) > 1 for row in published
    )
    assert found["flights", "a flight number is used once a day"] == sum(
        count - 1 for count in uses.values()
    )
    assert found["weather", "wind_speed lies between 0 and 230"] == 1
    assert found["weather", "every airport has every hour of 2013"] == 3 * 365 * 24 - 26_115


def test_aircraft_in_two_places_are_found_by_walking_every_flight(
    clean: cleaning.Clean, published: list[Row]
) -> None:
    trips: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for row in published:
        if row["tailnum"] != "NA" and row["air_time"] != "NA":
            late = timedelta(minutes=int(row["minute"]) + int(row["dep_delay"]))
            up = datetime.fromisoformat(row["time_hour"]) + late
            trips[row["tailnum"]].append((up, up + timedelta(minutes=int(row["air_time"]))))
    doubled = 0
    for flights in trips.values():
        flights.sort()
        clash = [n for n, (one, two) in enumerate(pairwise(flights)) if two[0] < one[1]]
        doubled += len({n + side for n in clash for side in (0, 1)})
    assert doubled == 232
    assert clean.blanks[0].rows == doubled
    assert clean.flown["tailnum"].isna().sum() == doubled


def test_a_table_without_its_columns_stops_the_run(tables: Tables) -> None:
    torn = {**tables, "weather": tables["weather"].drop(columns="visib")}
    with pytest.raises(validation.UnusableTableError, match="weather has the columns origin"):
        validation.validate(torn)


def test_an_ambiguous_key_stops_the_run(tables: Tables) -> None:
    planes = tables["planes"]
    doubled = {**tables, "planes": pd.concat([planes, planes.head(1)], ignore_index=True)}
    with pytest.raises(validation.UnusableTableError, match="not unique by tailnum"):
        validation.validate(doubled)


def test_joining_keeps_every_flight_once_and_in_order(
    clean: cleaning.Clean, joined: Joined
) -> None:
    pd.testing.assert_frame_equal(joined[0][cleaning.KEPT], clean.flown)


def test_weather_is_that_of_the_scheduled_hour(joined: Joined) -> None:
    with sources.locate("weather").open(newline="") as file:
        weather = {(row["origin"], row["time_hour"]): row for row in csv.DictReader(file)}
    flown = joined[0]
    for position in range(0, len(flown), 997):
        flight = flown.iloc[position]
        row = weather.get((flight["origin"], flight["time_hour"]))
        if row is None:
            assert pd.isna(flight["visib"])
        else:
            assert flight["visib"] == float(row["visib"])


def test_delays_by_airline_are_those_of_plain_arithmetic(
    aggregated: state.Aggregated, published: list[Row]
) -> None:
    delay: dict[str, list[int]] = defaultdict(list)
    for row in published:
        if row["arr_delay"] != "NA":
            delay[row["carrier"]].append(int(row["arr_delay"]))
    assert {group.key for group in aggregated.carriers} == delay.keys()
    for group in aggregated.carriers:
        values = delay[group.key]
        # Nine flights of all airlines together were dropped for their speed.
        assert 0 <= len(values) - group.flown <= 9
        assert group.arrival == pytest.approx(sum(values) / len(values), abs=0.02)
        late = 100 * sum(value >= 15 for value in values) / len(values)
        assert group.late == pytest.approx(late, abs=0.02)
        assert group.low < group.arrival < group.high


def test_the_latest_flight_is_the_hawaiian_of_9_january(
    ranked: state.Ranked, published: list[Row]
) -> None:
    latest = max(
        (row for row in published if row["arr_delay"] != "NA"),
        key=lambda row: int(row["arr_delay"]),
    )
    found = ranked.longest[0]
    assert (found.carrier, found.flight, found.date) == ("HA", 51, "2013-01-09")
    assert found.arrival == int(latest["arr_delay"]) == 1272


def test_worst_routes_are_those_of_plain_arithmetic(
    ranked: state.Ranked, published: list[Row]
) -> None:
    delay: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in published:
        if row["arr_delay"] != "NA":
            delay[row["origin"], row["dest"]].append(int(row["arr_delay"]))
    means = {key: sum(one) / len(one) for key, one in delay.items() if len(one) >= 52}
    worst = sorted(means, key=lambda key: -means[key])[:10]
    assert [(route.origin, route.dest) for route in ranked.worst_routes] == worst
    assert all(0 < route.stays <= 100 for route in ranked.worst_routes)


def test_like_for_like_turns_the_effect_of_age_round(ranked: state.Ranked) -> None:
    young, old = ranked.ages[0], ranked.ages[-1]
    assert old.measured < young.measured
    assert old.adjusted > young.adjusted


def test_like_for_like_effects_average_to_zero_over_the_flights(joined: Joined) -> None:
    fit = ranking.fit(joined[0])
    for column in ("carrier", "origin", "month", "hour"):
        assert joined[0][column].map(fit.effects[column]).mean() == pytest.approx(0, abs=1e-6)


def test_figures_worked_out_twice_are_identical(
    joined: Joined, delays: Delays, aggregated: state.Aggregated, ranked: state.Ranked
) -> None:
    again = Delays(*joined)
    assert aggregate(again).model_dump_json() == aggregated.model_dump_json()
    assert rank(joined[0], again.daily()).model_dump_json() == ranked.model_dump_json()


def test_the_state_survives_json_and_stays_small(finished: state.Flights) -> None:
    written = finished.model_dump_json()
    assert len(written) < 100_000
    assert state.Flights.model_validate_json(written) == finished


@pytest.mark.parametrize("name", ["", "../2013", "a/b", ".hidden", "a\n", "x" * 65])
def test_a_run_name_that_could_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        state.Flights(name=name)


def test_the_audit_agrees_and_notices_one_missing_flight(aggregated: state.Aggregated) -> None:
    assert audit.audit(aggregated) == 62
    first, *others = aggregated.months
    forged = first.model_copy(update={"scheduled": first.scheduled - 1})
    with pytest.raises(audit.AuditError, match="27003 flights reported, 27004 published"):
        audit.audit(aggregated.model_copy(update={"months": [forged, *others]}))


def test_the_chart_is_a_png_of_the_promised_size_and_the_same_each_time(
    figures: chart.Figures,
) -> None:
    light, again, dark = (chart.draw(figures, theme) for theme in (LIGHT, LIGHT, DARK))
    assert light == again
    assert light != dark
    for picture in (light, dark):
        kinds, size, pixels = _png(picture)
        assert kinds[0] == b"IHDR"
        assert kinds[-1] == b"IEND"
        assert size == (chart.WIDTH, chart.HEIGHT)
        assert len(set(pixels)) > 100


def _png(picture: bytes) -> tuple[list[bytes], tuple[int, int], bytes]:
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    kinds, packed, size, at = [], b"", (0, 0), 8
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        kind, body = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + length]
        (crc,) = struct.unpack(">I", picture[at + 8 + length : at + 12 + length])
        assert crc == zlib.crc32(kind + body)
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        if kind == b"IDAT":
            packed += body
        kinds.append(kind)
        at += 12 + length
    return kinds, size, zlib.decompress(packed)


class Outline(HTMLParser):
    """The elements of a page, with a check that each is closed in order."""

    VOID = frozenset({"meta", "img", "source"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            assert name not in ("src", "srcset", "href") or (value or "").startswith("data:")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def outline(content: bytes) -> Outline:
    outline = Outline()
    outline.feed(content.decode())
    outline.close()
    assert outline.open == []
    return outline


def sentences(finished: state.Flights) -> list[str]:
    return findings.findings(
        state.finished(finished.validated),
        state.finished(finished.cleaned),
        state.finished(finished.aggregated),
        state.finished(finished.ranked),
    )


def test_the_report_holds_the_figures_and_needs_no_other_file(finished: state.Flights) -> None:
    seen = outline(page.render(finished, b"light", b"dark", sentences(finished), 62))
    text = " ".join(seen.text)
    assert seen.seen["table"] == seen.seen["caption"] >= 20
    assert seen.seen["script"] == seen.seen["link"] == 0
    assert "prefers-color-scheme: dark" in text
    assert "336,776" in text
    assert "Frontier Airlines Inc." in text


def test_the_report_escapes_hostile_text(finished: state.Flights) -> None:
    hostile = "</td><script>alert('x')</script>\"&<img src=x onerror=alert(1)>"
    aggregated = state.finished(finished.aggregated)
    first, *others = aggregated.carriers
    carriers = [first.model_copy(update={"label": hostile}), *others]
    cleaned = state.finished(finished.cleaned)
    poisoned = finished.model_copy(
        update={
            "name": hostile,
            "aggregated": aggregated.model_copy(update={"carriers": carriers}),
            "cleaned": cleaned.model_copy(update={"dropped": [Count(reason=hostile, rows=1)]}),
        }
    )
    seen = outline(page.render(poisoned, b"light", b"dark", [hostile], 62))
    assert seen.seen["script"] == 0
    assert seen.seen["img"] == 1
    assert "".join(seen.text).count(hostile) == 5


def test_artifacts_are_replaced_whole_and_equal_tables_give_equal_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: Tables
) -> None:
    monkeypatch.setenv("FLIGHTS_OUT", str(tmp_path))
    store = artifacts.Artifacts("2013")
    first = store.write_table("planes", tables["planes"])
    assert store.write_table("planes", tables["planes"]) == first
    assert [path.name for path in (tmp_path / "2013").iterdir()] == ["planes.parquet"]
    pd.testing.assert_frame_equal(store.read_table("planes", [first]), tables["planes"])


def test_a_file_that_changed_behind_the_state_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLIGHTS_OUT", str(tmp_path))
    store = artifacts.Artifacts("2013")
    written: Artifact = store.write("note.txt", b"whole")
    (tmp_path / "2013" / "note.txt").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"note\.txt has changed"):
        store.read(written)


def test_sweeping_spares_what_another_attempt_may_still_be_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLIGHTS_OUT", str(tmp_path))
    store = artifacts.Artifacts("2013")
    store.write("note.txt", b"kept")
    old, new = (store.folder / f"{artifacts.TEMPORARY}{name}" for name in ("old", "new"))
    old.write_bytes(b"")
    new.write_bytes(b"")
    os.utime(old, (0, 0))
    store.sweep()
    assert sorted(path.name for path in store.folder.iterdir()) == [new.name, "note.txt"]
