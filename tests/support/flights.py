"""The figures of the flights example, worked out without Milepost."""

from __future__ import annotations

import pandas as pd

from examples.flights import state

Row = dict[str, str]
Tables = dict[str, pd.DataFrame]
Joined = tuple[pd.DataFrame, pd.DataFrame]


def broken(validated: state.Validated) -> dict[tuple[str, str], int]:
    return {(check.table, check.rule): check.failed for check in validated.checks if check.failed}
