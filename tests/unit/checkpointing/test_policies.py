"""When checkpoints are written: each policy, what is put off, and what becomes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from milepost.checkpointing import (
    Adaptive,
    AnyOf,
    AtSteps,
    CheckpointConfig,
    CheckpointManager,
    EveryN,
    Interval,
    Misconfigured,
    OnEvents,
    Since,
)
from milepost.checkpointing.stores.memory import MemoryCheckpointStore
from support.waiting import eventually

NOTHING = Since(None, 1, 0.0, None, None, 0.0)


def since(**values: Any) -> Since:
    return Since(**{**{name: getattr(NOTHING, name) for name in Since.__slots__}, **values})


@pytest.fixture
def store() -> Iterator[MemoryCheckpointStore]:
    with MemoryCheckpointStore() as store:
        yield store


def manager(store: MemoryCheckpointStore, **config: Any) -> CheckpointManager:
    return CheckpointManager(store, config=CheckpointConfig(**config))


def written(store: MemoryCheckpointStore) -> list[Any]:
    """The states that stand, oldest first."""
    reader = CheckpointManager(store)
    keys = [metadata.key for metadata in reader.list_checkpoints("run")]
    return [reader.get(key).state for key in reversed(keys)]


@pytest.mark.parametrize(
    ("policy", "case", "due"),
    [
        (Interval(5), since(), True),
        (Interval(5), since(seconds=4.9), False),
        (Interval(5), since(seconds=5.0), True),
        (EveryN(3), since(offers=2), False),
        (EveryN(3), since(offers=3), True),
        (OnEvents(), since(), False),
        (OnEvents(), since(event="paid"), True),
        (OnEvents({"paid"}), since(event="seen"), False),
        (AtSteps({"load"}), since(step_name="load"), True),
        (AtSteps({"load"}), since(step_name="clean"), False),
        (Adaptive(), since(), True),
        (Adaptive(0.5, 2.0), since(seconds=1.0, work=3.9), False),
        (Adaptive(0.5, 2.0), since(seconds=1.0, work=4.1), True),
        (Adaptive(0.5), since(seconds=1.0, write_seconds=0.6), False),
        (Adaptive(0.5), since(seconds=1.3, write_seconds=0.6), True),
        (AnyOf([EveryN(3), Interval(5)]), since(seconds=9, offers=1), True),
        (AnyOf([EveryN(3), Interval(5)]), since(seconds=1, offers=1), False),
    ],
)
def test_a_policy_decides(policy: Any, case: Since, due: bool) -> None:
    assert policy.is_due(case) is due


@pytest.mark.parametrize("make", [lambda: Interval(0), lambda: EveryN(0), lambda: Adaptive(1.5)])
def test_a_policy_that_cannot_work_is_refused(make: Any) -> None:
    with pytest.raises(Misconfigured, match="expected"):
        make()


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(ValidationError):
        CheckpointConfig(max_checkpoint=3)  # type: ignore[call-arg]


def test_every_nth_is_written_and_the_last_when_the_run_ends(store: MemoryCheckpointStore) -> None:
    ours = manager(store, every_n=3)
    made = [ours.create("run", number) for number in range(1, 6)]
    assert [each is not None for each in made] == [False, False, True, False, False]
    assert written(store) == [3]
    ours.mark_completed("run")
    assert written(store) == [3, 5, 5]


def test_force_writes_at_once(store: MemoryCheckpointStore) -> None:
    ours = manager(store, every_n=100)
    assert ours.create("run", 1) is None
    assert ours.create("run", 2, force=True) is not None
    assert written(store) == [2]
    assert ours.flush("run") is None


def test_only_what_is_forced_is_written_where_nothing_is_automatic(
    store: MemoryCheckpointStore,
) -> None:
    with manager(store, auto_checkpoint=False) as ours:
        assert ours.create("run", 1) is None
        ours.create("run", 2, force=True)
        assert ours.create("run", 3) is None
        assert ours.flush("run") is None
    assert written(store) == [2]


def test_what_is_put_off_is_kept_as_it_was(store: MemoryCheckpointStore) -> None:
    ours = manager(store, every_n=2)
    state = {"rows": [1]}
    ours.create("run", state)
    state["rows"].append(2)
    ours.flush("run")
    assert written(store) == [{"rows": [1]}]


def test_the_newest_that_was_put_off_is_written_by_itself(store: MemoryCheckpointStore) -> None:
    """FastAgentic loses it (FA-D21): here the last state before a crash is at most the interval old."""
    ours = manager(store, checkpoint_interval=2.0)
    ours.start()
    ours.start()
    try:
        for number in range(5):
            ours.create("run", number)
        assert written(store) == [0]
        eventually(lambda: written(store) == [0, 4], 20)
    finally:
        ours.stop()


def test_stopping_writes_what_was_put_off(store: MemoryCheckpointStore) -> None:
    ours = manager(store, checkpoint_interval=3600)
    for run_id in ("run", "other"):
        for number in range(3):
            ours.create(run_id, number)
    ours.stop()
    assert written(store) == [0, 2]
    assert ours.restore("other").state == 2  # type: ignore[union-attr]


def test_runs_have_paces_of_their_own(store: MemoryCheckpointStore) -> None:
    ours = manager(store, every_n=2)
    assert ours.create("run", 1) is None
    assert ours.create("other", 1) is None
    assert ours.create("run", 2) is not None


def test_a_policy_of_ones_own_is_asked(store: MemoryCheckpointStore) -> None:
    asked: list[Since] = []

    class Mine:
        def is_due(self, since: Since) -> bool:
            asked.append(since)
            return since.event == "milestone"

    ours = manager(store, policy=Mine())
    ours.create("run", 1, step_name="load", work=2.5)
    ours.create("run", 2, event="milestone", work=1.5)
    ours.create("run", 3)
    assert written(store) == [2]
    assert [(each.offers, each.work) for each in asked] == [(1, 2.5), (2, 4.0), (1, 0.0)]
    assert asked[0].seconds is None
    assert asked[2].seconds is not None
    assert asked[2].write_seconds > 0
    assert asked[0].step_name == "load"


def test_a_dropped_offer_is_gone_with_its_run(store: MemoryCheckpointStore) -> None:
    ours = manager(store, every_n=2)
    ours.create("run", 1)
    ours.delete_run("run")
    ours.stop()
    assert store.runs().items == ()


def test_a_slow_caller_is_not_put_off(store: MemoryCheckpointStore) -> None:
    ours = manager(store, checkpoint_interval=0.05)
    ours.create("run", 1)
    end = time.monotonic() + 0.06
    eventually(lambda: time.monotonic() > end)
    assert ours.create("run", 2) is not None
