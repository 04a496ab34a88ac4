"""A second count of the published file, sharing no code with the first."""

import csv
import io
import zipfile
from collections import Counter

from . import sources
from .figures import Group
from .state import Aggregated


class AuditError(ValueError):
    """The figures about to be reported do not follow from the published file."""


def audit(aggregated: Aggregated) -> int:
    """How many counts were reconciled; AuditError at the first that differs.

    Scheduled and cancelled flights are counted by airline, airport and month.
    """
    scheduled: Counter[tuple[str, str]] = Counter()
    cancelled: Counter[tuple[str, str]] = Counter()
    path = sources.locate("flights")
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as file:
        for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline="")):
            for column in ("carrier", "origin", "month"):
                key = (column, row[column])
                scheduled[key] += 1
                cancelled[key] += row["dep_time"] == "NA"
    groups = {
        "carrier": aggregated.carriers,
        "origin": aggregated.origins,
        "month": aggregated.months,
    }
    reported = {(column, group.key): group for column in groups for group in groups[column]}
    if reported.keys() != scheduled.keys():
        raise AuditError(f"groups differ: {sorted(reported.keys() ^ scheduled.keys())}")
    for key, group in reported.items():
        _reconcile(key, group, scheduled[key], cancelled[key])
    return 2 * len(reported)


def _reconcile(key: tuple[str, str], group: Group, scheduled: int, cancelled: int) -> None:
    if group.scheduled != scheduled:
        raise AuditError(f"{key}: {group.scheduled} flights reported, {scheduled} published")
    if abs(group.cancelled - 100 * cancelled / scheduled) > 0.006:
        raise AuditError(f"{key}: {group.cancelled} % reported, {cancelled} cancelled published")
