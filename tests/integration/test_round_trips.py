"""A stage costs few round trips to Redis, counted on a real worker."""

from __future__ import annotations

from pathlib import Path

from benchmarks import round_trips


def test_a_stage_costs_two_round_trips_of_milepost_and_one_of_celery_at_most(
    redis_url: str, tmp_path: Path
) -> None:
    traffic = round_trips.count(redis_url, tmp_path, runs=20)

    assert 2 <= traffic.own_a_stage() <= round_trips.GOAL, traffic
    # The server's own count agrees that there are scripts, and no more of them than that.
    assert 2 <= traffic.scripts / traffic.stages <= round_trips.GOAL, traffic
    # One for each message, and some that time brings: more on a slow machine.
    assert traffic.others_a_stage() <= round_trips.CELERYS_GOAL, traffic
