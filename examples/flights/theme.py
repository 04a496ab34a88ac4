"""The two sets of colours the chart is drawn in, on a light page and on a dark one."""

from dataclasses import dataclass

from matplotlib.colors import Colormap, LinearSegmentedColormap


@dataclass(frozen=True)
class Theme:
    """Colours of one rendering; the series stay apart for colour-blind readers too."""

    paper: str
    ink: str
    muted: str
    grid: str
    faint: str
    series: tuple[str, str, str]
    ramp: tuple[str, ...]

    def heat(self) -> Colormap:
        """From well ahead of the timetable through on time, in the middle, to far behind."""
        return LinearSegmentedColormap.from_list("heat", self.ramp)


LIGHT = Theme(
    paper="#ffffff",
    ink="#1b2330",
    muted="#5b6675",
    grid="#e4e8ee",
    faint="#c3cbd6",
    series=("#0b6bb0", "#cf5410", "#0a8767"),
    ramp=("#1f6fb2", "#7fb3d8", "#cfe1ee", "#f3f2ee", "#f9c9a6", "#e5703a", "#8c1c13"),
)
DARK = Theme(
    paper="#151b24",
    ink="#e8ecf2",
    muted="#9aa6b6",
    grid="#262f3c",
    faint="#435064",
    series=("#62b5f2", "#ff9a57", "#3fcf9f"),
    ramp=("#4ba3ea", "#2f6a9b", "#28445c", "#2b323d", "#7a4a35", "#ef7d43", "#ffd9a8"),
)
