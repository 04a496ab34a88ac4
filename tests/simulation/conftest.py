"""A world to tell stories in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .world import Setup, World


@pytest.fixture(params=[Setup(), Setup(log_in_runs=True, queue_in_runs=True)], ids=["apart", "one"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Broker, log and run store each on their own, or in one; with a run that has just been started."""
    made = World(request.param)
    started = made.operators.start("r0", 0)
    assert started is not None
    made.finish(started)
    yield made
    made.close()
