"""Which tests of the shipped suites prove which rows of `docs/guides/reliability.md`.

Marks in the suites themselves would be unknown to the pytest of who uses them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAULTS: dict[str, tuple[str, ...]] = {
    "checkpointing/milepost/checkpointing/testing/damage.py"
    "::test_a_record_under_another_key_is_found_out": ("F64",),
    "checkpointing/milepost/checkpointing/testing/damage.py"
    "::test_a_torn_record_is_never_taken_for_whole": ("F9",),
    "checkpointing/milepost/checkpointing/testing/deletion.py"
    "::test_without_the_last_record_the_one_before_is_last": ("F72",),
    "checkpointing/milepost/checkpointing/testing/racing.py"
    "::test_of_two_processes_one_wins_each_number": ("F35", "F38"),
    "checkpointing/milepost/checkpointing/testing/writing.py"
    "::test_another_record_is_refused_and_the_first_stays": ("F38",),
    "checkpointing/milepost/checkpointing/testing/writing.py"
    "::test_of_eight_writers_at_once_one_wins": ("F45",),
    "checkpointing/milepost/checkpointing/testing/writing.py"
    "::test_the_same_record_again_is_no_error": ("F10",),
    "tasks/milepost/tasks/testing/claiming.py::test_a_step_must_match_in_every_part": ("F46",),
    "tasks/milepost/tasks/testing/claiming.py::test_a_step_that_is_not_there_yet_is_ahead": (
        "F46",
        "F66",
    ),
    "tasks/milepost/tasks/testing/claiming.py::test_a_step_that_was_done_is_stale": ("F13", "F44"),
    "tasks/milepost/tasks/testing/claiming.py::test_of_eight_that_claim_at_once_one_wins": ("F45",),
    "tasks/milepost/tasks/testing/committing.py::test_a_repeated_commit_pushes_once": ("F10",),
    "tasks/milepost/tasks/testing/committing.py"
    "::test_nothing_is_removed_behind_a_commit_that_is_not_there": ("F71",),
    "tasks/milepost/tasks/testing/creating.py"
    "::test_creating_again_returns_what_stands_and_pushes_nothing": ("F2",),
    "tasks/milepost/tasks/testing/intending.py"
    "::test_cancelling_stops_commits_and_ends_with_a_checkpoint": ("F56",),
    "tasks/milepost/tasks/testing/listing.py::test_a_forged_cursor_is_refused": ("S8",),
    "tasks/milepost/tasks/testing/looking.py::test_requeueing_publishes_once": ("F54",),
    "tasks/milepost/tasks/testing/looking.py::test_what_one_looker_saw_is_leased": ("F54",),
    "tasks/milepost/tasks/testing/suspects.py"
    "::test_a_child_that_died_counts_until_the_run_is_set_aside": ("F18",),
    "tasks/milepost/tasks/testing/suspects.py"
    "::test_of_those_that_die_together_only_the_one_to_blame_is_set_aside": ("F47",),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them."""
    for item in items:
        if isinstance(item, pytest.Function) and item.path.parent == Path(__file__).parent:
            path = Path(item.function.__code__.co_filename)
            if path.is_relative_to(ROOT):
                name = f"{path.relative_to(ROOT)}::{item.originalname}"
                if rows := FAULTS.get(name):
                    item.add_marker(pytest.mark.fault(*rows))
