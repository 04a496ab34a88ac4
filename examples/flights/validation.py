"""Putting the rules to the tables: what is fatal stops the run, the rest is counted."""

import pandas as pd
from pandas.api.types import is_numeric_dtype

from .record import Check
from .rulebook import FLIGHTS, OTHERS
from .rules import COLUMNS, KEYS, TEXT, Rule, Tables
from .state import Validated

HOURS = pd.date_range("2013-01-01T05:00Z", "2014-01-01T04:00Z", freq="h")


class UnusableTableError(ValueError):
    """A table without its columns or with an ambiguous key, on which no figure can be built."""


def _shape(table: str, frame: pd.DataFrame) -> Check:
    expected = COLUMNS[table].split()
    if list(frame.columns) != expected:
        raise UnusableTableError(f"{table} has the columns {', '.join(frame.columns)}")
    wrong = [name for name in expected if is_numeric_dtype(frame[name]) == (name in TEXT)]
    if wrong:
        raise UnusableTableError(f"{table} has columns of the wrong kind: {', '.join(wrong)}")
    rule = f"has its {len(expected)} columns, each of the right kind"
    return Check(table=table, rule=rule, rows=len(frame), failed=0)


def _key(table: str, frame: pd.DataFrame) -> Check:
    columns = KEYS[table]
    bad = frame[columns].isna().any(axis=1) | frame.duplicated(columns)
    if frame.empty or bad.any():
        raise UnusableTableError(f"{table} is empty or not unique by {', '.join(columns)}")
    rule = f"{', '.join(columns)} identify a row"
    return Check(table=table, rule=rule, rows=len(frame), failed=0)


def _put(rule: Rule, tables: Tables) -> Check:
    frame = tables[rule.table]
    broken = frame[rule.broken(tables)]
    example = ""
    if len(broken):
        columns = [name for name in KEYS[rule.table] if name in frame.columns]
        example = " ".join(str(value) for value in broken.iloc[0][columns])
    return Check(
        table=rule.table, rule=rule.says, rows=len(frame), failed=len(broken), example=example
    )


def _hours(weather: pd.DataFrame) -> Check:
    expected = pd.MultiIndex.from_product([["EWR", "JFK", "LGA"], HOURS])
    instants = pd.to_datetime(weather["time_hour"], utc=True)
    missing = expected.difference(pd.MultiIndex.from_arrays([weather["origin"], instants]))
    example = f"{missing[0][0]} {missing[0][1]:%Y-%m-%dT%H:%M:%SZ}" if len(missing) else ""
    return Check(
        table="weather",
        rule="every airport has every hour of 2013",
        rows=len(expected),
        failed=len(missing),
        example=example,
    )


def validate(tables: Tables) -> Validated:
    """Every rule with its count; UnusableTableError when the columns or keys do not hold."""
    checks = [_shape(table, tables[table]) for table in COLUMNS]
    checks += [_key(table, tables[table]) for table in KEYS]
    checks += [_put(rule, tables) for rule in FLIGHTS + OTHERS]
    checks.append(_hours(tables["weather"]))
    broken = sum(1 for check in checks if check.failed)
    return Validated(passed=len(checks) - broken, broken=broken, checks=checks)
