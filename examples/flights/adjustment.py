"""What a carrier, a wind or an aircraft's age does to the delay when all else is held equal."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .resampling import Floats, Ints


@dataclass(frozen=True)
class Adjustment:
    """A least-squares fit of the delay by categories.

    `effects` holds, for each factor, the minutes that each of its levels adds to the mean;
    `explained` is the share of the variance that all factors explain together.
    """

    mean: float
    effects: dict[str, pd.Series]
    explained: float


def adjust(value: pd.Series, factors: dict[str, pd.Series]) -> Adjustment:
    """Fit value = mean + one effect for the level of each factor, by the normal equations.

    The design matrix would hold rows times levels; its square is nothing but the pairwise
    contingency tables of the factors, so only those are ever built.
    """
    codes: dict[str, Ints] = {}
    levels: dict[str, pd.Index] = {}
    for name, factor in factors.items():
        coded, levels[name] = pd.factorize(factor, sort=True)
        codes[name] = coded.astype(np.intp)
    y = value.to_numpy(np.float64)
    square = np.block([[_table(codes[a], codes[b]) for b in codes] for a in codes])
    moment = np.concatenate([np.bincount(code, weights=y) for code in codes.values()])
    mean = float(y.mean())
    counts = np.concatenate([np.bincount(code) for code in codes.values()]).astype(np.float64)
    solution: Floats = np.linalg.lstsq(square, moment - mean * counts, rcond=1e-10)[0]
    effects: dict[str, pd.Series] = {}
    fitted = np.full(len(y), mean)
    start = 0
    for name, code in codes.items():
        effect = solution[start : start + len(levels[name])]
        start += len(levels[name])
        fitted += effect[code]
        # Least squares leaves the level of each factor open; its flights must average to zero.
        effects[name] = pd.Series(effect - effect[code].mean(), index=levels[name])
    left = float(((y - fitted) ** 2).sum() / ((y - mean) ** 2).sum())
    return Adjustment(mean=mean, effects=effects, explained=1 - left)


def _table(first: Ints, second: Ints) -> Floats:
    rows, columns = int(first.max()) + 1, int(second.max()) + 1
    cells = np.bincount(first * columns + second, minlength=rows * columns)
    return cells.reshape(rows, columns).astype(np.float64)
