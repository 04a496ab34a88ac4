"""How far figures would move in another year like this one, by drawing its days anew.

Delays on one day share their weather, so days are drawn, not flights; drawing flights would
make every interval several times too narrow.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

DAYS = 365
YEARS = 4000
SEED = 2013
PERCENT = 95


def years() -> Floats:
    """How often each day occurs in each resampled year, the same draws on every call."""
    draws = np.random.default_rng(SEED).multinomial(DAYS, np.full(DAYS, 1 / DAYS), size=YEARS)
    return draws.astype(np.float64)


def means(drawn: Floats, group: Ints, day: Ints, value: Floats) -> Floats:
    """The mean of each group (columns) in each resampled year (rows); NaN where it has no row.

    Values are whole minutes, so the sums are exact whatever order the threads add them in.
    """
    groups = int(group.max()) + 1
    cell = day * groups + group
    total = np.bincount(cell, weights=value, minlength=DAYS * groups).reshape(DAYS, groups)
    count = np.bincount(cell, minlength=DAYS * groups).reshape(DAYS, groups).astype(np.float64)
    rows = drawn @ count
    mean: Floats = np.divide(drawn @ total, rows, out=np.full(rows.shape, np.nan), where=rows > 0)
    return mean


def bounds(means: Floats) -> tuple[Floats, Floats]:
    """The lower and upper bound of each group's mean with PERCENT confidence."""
    tail = (100 - PERCENT) / 2
    low, high = np.nanpercentile(means, [tail, 100 - tail], axis=0)
    return low, high
