"""Bulk commands whose server may die."""

from __future__ import annotations

import time

from milepost.control.dashboard.bulk_jobs import BulkJob
from milepost.control.dashboard.throttle import Throttle


def job(told_ago: float, state: str = "running") -> BulkJob:
    """Return a job that was heard of so many seconds ago."""
    return BulkJob("id", "retry", "ann", "all", 7, state=state, told_at=time.time() - told_ago)


def test_a_job_that_fell_silent_is_lost() -> None:
    assert not job(10).is_lost
    assert job(40).is_lost
    assert not job(40, "done").is_lost


def test_refusals_are_added_up() -> None:
    silent = job(1)
    silent.refused = {"Conflict": 3, "UnknownRun": 1}

    assert silent.refusals == 4


def test_an_address_waits_for_its_own_failures_alone() -> None:
    throttle = Throttle(failures=3, seconds=60)
    for _ in range(3):
        assert throttle.wait_seconds("a") == 0
        throttle.failed("a")

    assert 0 < throttle.wait_seconds("a") <= 60
    assert throttle.wait_seconds("b") == 0


def test_waiting_ends() -> None:
    throttle = Throttle(failures=1, seconds=0)
    throttle.failed("a")

    assert throttle.wait_seconds("a") == 0


def test_many_addresses_cost_no_more_than_so_much() -> None:
    throttle = Throttle(failures=1)
    for number in range(20_000):
        throttle.failed(str(number))

    assert len(throttle._by_address) == 10_000
    assert throttle.wait_seconds("19999") > 0
