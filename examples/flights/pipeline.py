"""The stages: read every flight of 2013, distrust it, explain its delays, draw and report them."""

from milepost.tasks import Context, Milepost, Retry

from . import audit, chart, cleaning, findings, joining, page, sources, summary, validation
from .artifacts import Artifacts
from .delays import Delays
from .state import (
    Cleaned,
    Flights,
    Joined,
    Loaded,
    Plotted,
    Reported,
    finished,
)
from .theme import DARK, LIGHT

app = Milepost()
flights = app.pipeline("flights", version="1")
disk = Retry(attempts=3, backoff="1s..10s", on=OSError)


@flights.stage(retry=disk, timeout="2m")
def load(state: Flights, ctx: Context) -> Flights:
    """Copy the published tables into the run's folder as parquet."""
    artifacts = Artifacts(state.name)
    artifacts.sweep()
    origins, files = [], []
    for table in sources.FILES:
        frame, source = sources.read(table)
        origins.append(source)
        files.append(artifacts.write_table(table, frame))
        ctx.log.info("%s: %d rows", source.name, source.rows)
    loaded = Loaded(flights=origins[0].rows, sources=origins, files=files)
    return state.model_copy(update={"loaded": loaded})


@flights.stage
def validate(state: Flights, ctx: Context) -> Flights:
    """Put every rule to the tables."""
    artifacts, written = Artifacts(state.name), finished(state.loaded).files
    tables = {name: artifacts.read_table(name, written) for name in sources.FILES}
    validated = validation.validate(tables)
    for check in validated.checks:
        if check.failed:
            ctx.log.warning("%s: %s: %d rows do not", check.table, check.rule, check.failed)
    return state.model_copy(update={"validated": validated})


@flights.stage(retry=disk, timeout="2m")
def clean(state: Flights) -> Flights:
    """Drop flights without a delay and blank what cannot be true."""
    artifacts, written = Artifacts(state.name), finished(state.loaded).files
    read = [artifacts.read_table(name, written) for name in ("flights", "planes", "weather")]
    result = cleaning.clean(*read)
    cleaned = Cleaned(
        rows_in=len(read[0]),
        dropped=result.drops,
        blanked=result.blanks,
        rows_out=len(result.flown),
        files=[
            artifacts.write_table("clean-flown", result.flown),
            artifacts.write_table("clean-dropped", result.dropped),
            artifacts.write_table("clean-planes", result.planes),
            artifacts.write_table("clean-weather", result.weather),
        ],
    )
    return state.model_copy(update={"cleaned": cleaned})


@flights.stage(retry=disk, timeout="2m")
def join(state: Flights) -> Flights:
    """Give every flight, flown or dropped, its weather, aircraft, airline and destination."""
    artifacts = Artifacts(state.name)
    written = finished(state.cleaned).files + finished(state.loaded).files
    names = ("clean-weather", "clean-planes", "airlines", "airports")
    sides = [artifacts.read_table(name, written) for name in names]
    flown = joining.join(artifacts.read_table("clean-flown", written), *sides)
    dropped = joining.join(artifacts.read_table("clean-dropped", written), *sides)
    joined = Joined(
        rows=len(flown),
        with_weather=int(flown["visib"].notna().sum()),
        with_aircraft=int(flown["seats"].notna().sum()),
        with_build_year=int(flown["built"].notna().sum()),
        with_destination=int(flown["place"].notna().sum()),
        missing=joining.missing(flown),
        files=[
            artifacts.write_table("joined-flown", flown),
            artifacts.write_table("joined-dropped", dropped),
        ],
    )
    return state.model_copy(update={"joined": joined})


@flights.stage(retry=disk, timeout="2m")
def aggregate(state: Flights) -> Flights:
    """Work out the delays along every dimension, with the bounds of their means."""
    artifacts, written = Artifacts(state.name), finished(state.joined).files
    delays = Delays(
        artifacts.read_table("joined-flown", written),
        artifacts.read_table("joined-dropped", written),
    )
    tables = [
        artifacts.write_table("daily", delays.daily()),
        artifacts.write_table("hourly", delays.hourly()),
    ]
    figures = summary.aggregated(delays, tables)
    return state.model_copy(update={"aggregated": figures})


@flights.stage
def rank(state: Flights) -> Flights:
    """Rank airlines like for like, routes by resampling, days and flights as they were."""
    artifacts = Artifacts(state.name)
    flown = artifacts.read_table("joined-flown", finished(state.joined).files)
    daily = artifacts.read_table("daily", finished(state.aggregated).files)
    return state.model_copy(update={"ranked": summary.ranked(flown, daily)})


@flights.stage(retry=disk, timeout="2m")
def plot(state: Flights) -> Flights:
    """Draw the chart for a light page and for a dark one."""
    artifacts = Artifacts(state.name)
    aggregated, ranked = finished(state.aggregated), finished(state.ranked)
    figures = chart.Figures(
        overall=aggregated.overall,
        carriers=ranked.carriers,
        routes=ranked.worst_routes,
        hourly=artifacts.read_table("hourly", aggregated.files),
        visibility=aggregated.visibility,
        ages=ranked.ages,
        daily=artifacts.read_table("daily", aggregated.files),
    )
    plotted = Plotted(
        width=chart.WIDTH,
        height=chart.HEIGHT,
        light=artifacts.write("flights.png", chart.draw(figures, LIGHT)),
        dark=artifacts.write("flights-dark.png", chart.draw(figures, DARK)),
    )
    return state.model_copy(update={"plotted": plotted})


@flights.stage(retry=disk, timeout="2m")
def report(state: Flights, ctx: Context) -> Flights:
    """Count the published file a second time and, if it agrees, write the page."""
    artifacts, plotted = Artifacts(state.name), finished(state.plotted)
    aggregated = finished(state.aggregated)
    audited = audit.audit(aggregated)
    sentences = findings.findings(
        finished(state.validated), finished(state.cleaned), aggregated, finished(state.ranked)
    )
    light, dark = artifacts.read(plotted.light), artifacts.read(plotted.dark)
    content = page.render(state, light, dark, sentences, audited)
    written = artifacts.write("report.html", content)
    ctx.log.info("report: %s", artifacts.folder / written.name)
    reported = Reported(page=written, audited=audited, findings=sentences)
    return state.model_copy(update={"reported": reported})
