"""Which runs a query means, without a store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from milepost.tasks import RunQuery, RunStatus
from milepost.tasks.testing.case import new_head

HEAD = replace(
    new_head(tags=("eu", "night")),
    tenant="acme",
    status=RunStatus.FAILED,
    error='{"group": "g1"}',
    created_at=5_000_000,
)
MEANT: list[tuple[RunQuery, RunQuery]] = [
    (RunQuery.of(RunStatus.QUEUED, RunStatus.FAILED), RunQuery.of(RunStatus.QUEUED)),
    (RunQuery(pipeline="orders"), RunQuery(pipeline="bills")),
    (RunQuery(stage="first"), RunQuery(stage="second")),
    (RunQuery(group="g1"), RunQuery(group="g2")),
    (RunQuery(tag="night"), RunQuery(tag="us")),
    (RunQuery(tenant="acme"), RunQuery(tenant="")),
    (RunQuery(since_ms=5_000), RunQuery(since_ms=5_001)),
    (RunQuery(until_ms=5_001), RunQuery(until_ms=5_000)),
]


@pytest.mark.parametrize(("meant", "other"), MEANT)
def test_each_condition_counts(meant: RunQuery, other: RunQuery) -> None:
    """The first moment belongs to a span of time, the last does not."""
    assert meant.matches(HEAD)
    assert not other.matches(HEAD)


@pytest.mark.parametrize(("meant", "other"), MEANT)
def test_what_has_a_condition_is_not_everything(meant: RunQuery, other: RunQuery) -> None:
    """A tenant is none: whose runs are seen is another question than which are meant."""
    assert RunQuery().is_everything
    for query in (meant, other):
        assert query.is_everything == (query.tenant is not None)
