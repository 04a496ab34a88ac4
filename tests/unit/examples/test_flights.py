"""The flights example: data, cleaning, joining and figures."""

import csv
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from itertools import pairwise

import pandas as pd
import pytest

from examples.flights import (
    audit,
    cleaning,
    ranking,
    sources,
    state,
    summary,
    validation,
)
from examples.flights.delays import Delays
from support.flights import broken

Row = dict[str, str]
Tables = dict[str, pd.DataFrame]
Joined = tuple[pd.DataFrame, pd.DataFrame]


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
    assert summary.aggregated(again, []).model_dump_json() == aggregated.model_dump_json()
    assert summary.ranked(joined[0], again.daily()).model_dump_json() == ranked.model_dump_json()


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
