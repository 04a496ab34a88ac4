"""The panels of the chart, each drawn from the figures alone."""

import re
from datetime import date, timedelta

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.patches import Rectangle

from .delays import ORIGINS
from .figures import Adjusted, Group, Route
from .theme import Theme

EARLIEST, LATEST = -20, 60
JANUARY = date(2013, 1, 1)
SUFFIX = re.compile(r" (Inc\.|Co\.|Corporation)$")


def headed(axes: Axes, theme: Theme, title: str, note: str, indent: float = 0) -> None:
    """Give a panel its title, a note on what is measured, and a quiet frame.

    `indent` moves both sideways, in points, so that they can start left of long tick labels.
    """
    for height, text, size, weight, colour in [
        (29, title, 13.5, "bold", theme.ink),
        (12, note, 9.5, "normal", theme.muted),
    ]:
        axes.annotate(
            text, (0, 1), (indent, height), xycoords="axes fraction", textcoords="offset points",
            fontsize=size, fontweight=weight, color=colour, annotation_clip=False,
        )  # fmt: skip
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelsize=9.5, colors=theme.muted)
    axes.set_axisbelow(True)


def carriers(axes: Axes, theme: Theme, rows: list[Adjusted]) -> None:
    """Each airline's mean delay as measured and, joined to it, like for like."""
    places = range(len(rows))
    measured, adjusted = [row.measured for row in rows], [row.adjusted for row in rows]
    blue, orange, _ = theme.series
    axes.axvline(0, color=theme.faint, linewidth=1)
    axes.hlines(places, measured, adjusted, color=theme.faint, linewidth=2.5, zorder=2)
    axes.scatter(
        measured, places, s=44, facecolor=theme.paper, edgecolor=blue, linewidth=1.8, zorder=3,
        label="as measured",
    )  # fmt: skip
    axes.scatter(adjusted, places, s=52, color=orange, zorder=4, label="like for like")
    headed(
        axes, theme, "Airlines", "mean arrival delay in minutes; flights flown in brackets", -153
    )
    names = [SUFFIX.sub("", row.label) for row in rows]
    flown = [f"({row.flown:,})" for row in rows]
    labels = [f"{name}  {count}" for name, count in zip(names, flown, strict=True)]
    axes.set_yticks(places, labels, color=theme.ink)
    axes.invert_yaxis()
    axes.grid(axis="x", color=theme.grid)
    axes.legend(loc="lower right", frameon=False, fontsize=9.5, labelcolor=theme.ink)


def routes(axes: Axes, theme: Theme, rows: list[Route]) -> None:
    """The ten worst routes with the bounds of their means and how surely they belong here."""
    places = range(len(rows))
    means = np.array([row.arrival for row in rows])
    reach = np.array([[row.arrival - row.low, row.high - row.arrival] for row in rows]).T
    axes.barh(places, means, color=theme.series[1], height=0.62, alpha=0.85)
    axes.errorbar(
        means, places, xerr=reach, fmt="none", ecolor=theme.ink, elinewidth=1.1, capsize=2.5
    )
    headed(axes, theme, "Ten worst routes", "mean arrival delay in minutes with 95 % bounds", -70)
    axes.set_yticks(places, [f"{row.origin} → {row.dest}" for row in rows], color=theme.ink)
    right = float(max(row.high for row in rows))
    for place, row in zip(places, rows, strict=True):
        axes.text(
            right * 1.04, place, f"{row.stays:.0f} %", va="center", fontsize=9.5, color=theme.muted
        )
    axes.text(right * 1.04, -0.7, "stays in\nthe ten", fontsize=9, color=theme.muted, va="bottom")
    axes.set_xlim(0, right * 1.17)
    axes.set_xticks(range(0, int(right) + 1, 10))
    axes.invert_yaxis()
    axes.grid(axis="x", color=theme.grid)


def hours(axes: Axes, theme: Theme, hourly: pd.DataFrame) -> None:
    """The departure delay through the day, a line for each airport."""
    for (origin, name), colour in zip(ORIGINS.items(), theme.series, strict=True):
        line = hourly[hourly["origin"] == origin]
        axes.plot(line["hour"], line["departure"], color=colour, linewidth=2.4, label=name)
    axes.axhline(0, color=theme.faint, linewidth=1)
    axes.set_xticks(range(6, 24, 3), [f"{hour:02d}:00" for hour in range(6, 24, 3)])
    axes.grid(axis="y", color=theme.grid)
    axes.legend(loc="upper left", frameon=False, fontsize=9.5, labelcolor=theme.ink)
    headed(axes, theme, "Hour of departure", "mean departure delay in minutes, by scheduled hour")


def visibility(axes: Axes, theme: Theme, groups: list[Group]) -> None:
    """The share of late and of cancelled flights by visibility."""
    places = np.arange(len(groups))
    blue, orange, _ = theme.series
    for shift, colour, name, values in [
        (-0.2, orange, "15 min late or more", [group.late for group in groups]),
        (0.2, blue, "cancelled", [group.cancelled for group in groups]),
    ]:
        axes.bar(places + shift, values, width=0.38, color=colour, label=name)
        for place, value in zip(places + shift, values, strict=True):
            axes.text(place, value + 0.8, f"{value:.0f}", ha="center", fontsize=9, color=theme.ink)
    axes.set_xticks(places, [group.label for group in groups])
    axes.grid(axis="y", color=theme.grid)
    axes.legend(loc="upper right", frameon=False, fontsize=9.5, labelcolor=theme.ink)
    axes.set_ylim(0, 1.08 * max(group.late for group in groups))
    headed(axes, theme, "Visibility", "% of flights, by visibility at departure")


def ages(axes: Axes, theme: Theme, rows: list[Adjusted]) -> None:
    """The delay by age of the aircraft, as measured and like for like."""
    places = range(len(rows))
    blue, orange, _ = theme.series
    for colour, marker, name, values in [
        (blue, theme.paper, "as measured", [row.measured for row in rows]),
        (orange, orange, "like for like", [row.adjusted for row in rows]),
    ]:
        axes.plot(
            places, values, color=colour, linewidth=2.4, marker="o", markersize=7,
            markerfacecolor=marker, markeredgewidth=1.8, label=name,
        )  # fmt: skip
    axes.set_xticks(places, [row.label for row in rows])
    axes.set_ylim(0, 1.3 * max(max(row.measured, row.adjusted) for row in rows))
    axes.grid(axis="y", color=theme.grid)
    axes.legend(loc="upper left", frameon=False, fontsize=9.5, labelcolor=theme.ink)
    headed(axes, theme, "Age of the aircraft", "mean arrival delay in minutes, by age in years")


def calendar(axes: Axes, theme: Theme, daily: pd.DataFrame) -> None:
    """Every day of the year, a column a week, coloured by its mean arrival delay."""
    lead = JANUARY.weekday()
    cells = np.full((7, 53), np.nan)
    for number, delay in enumerate(daily["arrival"]):
        cells[(number + lead) % 7, (number + lead) // 7] = delay
    mesh = axes.pcolormesh(
        cells, cmap=theme.heat(), norm=TwoSlopeNorm(0, EARLIEST, LATEST),
        edgecolors=theme.paper, linewidth=2.2,
    )  # fmt: skip
    axes.invert_yaxis()
    axes.set_aspect("equal")
    starts = [(date(2013, month, 1) - JANUARY).days + lead for month in range(1, 13)]
    axes.set_xticks([start / 7 + 2.1 for start in starts], [_month(n) for n in range(1, 13)])
    axes.set_yticks([0.5, 2.5, 4.5, 6.5], ["Mon", "Wed", "Fri", "Sun"])
    for start in starts[1:]:
        week, weekday = divmod(start, 7)
        right = week + (weekday > 0)
        axes.plot([week, week, right, right], [7, weekday, weekday, 0], color=theme.muted, lw=1.1)
    worst = int(daily["arrival"].to_numpy(float).argmax())
    week, weekday = divmod(worst + lead, 7)
    axes.add_patch(Rectangle((week, weekday), 1, 1, fill=False, edgecolor=theme.ink, linewidth=2))
    bar = axes.figure.colorbar(mesh, ax=axes, extend="both", fraction=0.012, pad=0.012, aspect=14)
    bar.set_ticks([-20, 0, 30, 60])
    bar.ax.tick_params(length=0, labelsize=9, colors=theme.muted)
    bar.outline.set_visible(False)
    headed(
        axes,
        theme,
        "Every day of 2013",
        f"mean arrival delay in minutes; outlined is the worst day, "
        f"{JANUARY + timedelta(worst):%-d %B}, with {daily['arrival'].iloc[worst]:.0f}",
    )


def _month(number: int) -> str:
    return f"{date(2013, number, 1):%b}"
