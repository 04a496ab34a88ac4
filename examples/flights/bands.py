"""Ranges that weather and aircraft age are sorted into."""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Bands:
    """A column cut at its edges; each band includes its lower edge."""

    column: str
    edges: tuple[float, ...]
    labels: tuple[str, ...]

    def of(self, table: pd.DataFrame) -> pd.Series:
        """The number of the band each row is in, -1 where the value is missing."""
        values = table[self.column]
        band = np.searchsorted(np.asarray(self.edges), values.to_numpy(float), side="right")
        return pd.Series(np.where(values.isna(), -1, band), index=table.index)


RAIN = Bands("precip", (0.005, 0.05, 0.15), ("dry", "light", "moderate", "heavy"))
VISIBILITY = Bands("visib", (1, 3, 6, 10), ("under 1 mi", "1–3 mi", "3–6 mi", "6–10 mi", "10 mi"))
WIND = Bands("wind_speed", (5, 10, 15, 20, 25), ("0–5", "5–10", "10–15", "15–20", "20–25", "25+"))
AGE = Bands("age", (5, 10, 15, 20, 25), ("0–4", "5–9", "10–14", "15–19", "20–24", "25+"))
