"""Which checkpoints are kept, counted and found again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from milepost.checkpointing import (
    Checkpoint,
    CheckpointConfig,
    CheckpointKey,
    CheckpointManager,
    CheckpointMetadata,
    CheckpointSettings,
    Corrupt,
    Expired,
    Kind,
    Misconfigured,
    NotFound,
    Record,
    Status,
    Unavailable,
)
from milepost.checkpointing.stores.memory import MemoryCheckpointStore
from support.waiting import eventually


class Watched(MemoryCheckpointStore):
    """A memory store that counts what is asked of it, and can be damaged."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.broken = False
        self.refused = ""

    def put(self, record: Record) -> None:
        self.calls.append("put")
        if record.key.run_id == self.refused:
            raise Unavailable("The store is away.")
        super().put(record)

    def delete(self, key: CheckpointKey) -> bool:
        self.calls.append("delete")
        return super().delete(key)

    def history(self, *args: Any, **options: Any) -> Any:
        self.calls.append("history")
        return super().history(*args, **options)

    def runs(self, **options: Any) -> Any:
        if self.broken:
            raise Unavailable("The store is away.")
        return super().runs(**options)

    def damage(self, key: CheckpointKey, *, header: bytes | None = None) -> None:
        sound = self._runs[key.run_id][key.path]
        damaged = Record(key, header or sound.header, sound.body + b"x")
        self._runs[key.run_id][key.path] = damaged


@pytest.fixture
def store() -> Iterator[Watched]:
    with Watched() as store:
        yield store


def manager(store: Watched, **config: Any) -> CheckpointManager:
    return CheckpointManager(store, config=CheckpointConfig(**config))


def create(ours: CheckpointManager, *args: Any, **options: Any) -> Checkpoint:
    checkpoint = ours.create(*args, **options)
    assert checkpoint is not None
    return checkpoint


def numbers(ours: CheckpointManager, run_id: str = "run") -> list[int]:
    return [metadata.sequence for metadata in reversed(ours.list_checkpoints(run_id))]


def test_a_checkpoint_is_one_request_however_many_there_are(store: Watched) -> None:
    ours = manager(store)
    for number in range(200):
        store.calls.clear()
        ours.create("run", number)
        assert store.calls == (["history", "put"] if number == 0 else ["put"])


def test_a_limit_costs_one_deletion_and_is_kept_at_once(store: Watched) -> None:
    ours = manager(store, max_checkpoints_per_run=5)
    for number in range(40):
        store.calls.clear()
        ours.create("run", number)
        look, room = ["history"], ["delete"] * (number >= 5)
        assert store.calls == (["history", "put"] if number == 0 else ["put", *look, *room])
    assert numbers(ours) == [35, 36, 37, 38, 39]


def test_the_newest_is_last_though_another_process_went_on(store: Watched) -> None:
    """Its retention has freed the very number that the first process would give next."""
    one, two = (manager(store, max_checkpoints_per_run=1) for _ in range(2))
    one.create("run", "one")
    for number in range(3):
        two.create("run", number)
    created = create(one, "run", "newest")
    assert two.restore("run") == created
    assert created.metadata.sequence > 3
    assert numbers(two) == [created.metadata.sequence]


@pytest.mark.fault("F65")
def test_what_cannot_be_judged_is_not_removed(store: Watched) -> None:
    """Without the key, or while the store is away, nothing says that a checkpoint is worthless."""
    keys = CheckpointSettings.model_validate({"encryption_keys": "a:" + "A" * 43 + "="})
    sealed = CheckpointManager(store, keys)
    for number in range(3):
        sealed.create("run", number)
    ours = manager(store, max_age_seconds=0.000001)
    assert ours.cleanup() == 2
    assert sealed.restore("run").state == 2  # type: ignore[union-attr]
    for number in range(3):
        store.damage(CheckpointKey("run", sealed._last("run").sequence, kind=Kind.MANUAL))  # type: ignore[union-attr]
        sealed.create("run", number)
    store.damage(CheckpointKey("run", sealed._last("run").sequence, kind=Kind.MANUAL))  # type: ignore[union-attr]
    assert ours.cleanup() == 0


def test_a_damaged_header_does_not_stop_the_run(store: Watched) -> None:
    before = manager(store)
    before.create("run", 1)
    store.damage(create(before, "run", 2).metadata.key, header=b"MPCK")
    created = create(manager(store), "run", 3)
    assert created.metadata.sequence == 2
    assert manager(store).restore("run") == created


def test_what_was_put_off_is_written_though_one_run_cannot_be(store: Watched) -> None:
    ours = manager(store, every_n=10)
    for run_id in ("a", "b", "c"):
        ours.create(run_id, run_id)
    store.refused = "b"
    with pytest.raises(Unavailable):
        ours.stop()
    assert store.runs().items == ("a", "c")


def test_numbers_go_on_after_a_restart(store: Watched) -> None:
    """FastAgentic begins at 0 again, and loses all progress since (FA-D1, FA-D2)."""
    for number in range(5):
        manager(store, max_checkpoints_per_run=3).create("run", number)
    ours = manager(store, max_checkpoints_per_run=3)
    assert numbers(ours) == [2, 3, 4]
    created = create(ours, "run", 5)
    assert ours.restore("run") == created
    assert ours.restore_from(created.checkpoint_id) == created


def test_a_lower_limit_takes_effect_at_the_next_cleanup(store: Watched) -> None:
    before = manager(store)
    for number in range(120):
        before.create("run", number)
    ours = manager(store, max_checkpoints_per_run=4)
    assert ours.cleanup() == 116
    assert numbers(ours) == [116, 117, 118, 119]
    assert ours.cleanup() == 0


def test_branch_tips_are_spared_if_asked(store: Watched) -> None:
    ours = manager(store, max_checkpoints_per_run=3, keep_branches=True)
    first = create(ours, "run", "trunk")
    left = create(ours, "run", "left", parent_id=first.checkpoint_id)
    right = create(ours, "run", "right", parent_id=first.checkpoint_id)
    for number in range(6):
        right = create(ours, "run", number, parent_id=right.checkpoint_id)
    kept = {metadata.checkpoint_id for metadata in ours.list_checkpoints("run")}
    assert left.checkpoint_id in kept
    assert right.checkpoint_id in kept
    assert len(kept) == 4
    assert ours.restore_from(left.checkpoint_id).state == "left"


def test_old_ones_go_but_not_the_newest(store: Watched) -> None:
    ours = manager(store, max_age_seconds=0.000001)
    for number in range(3):
        ours.create("run", number)
    assert ours.prune("run") == 2
    assert numbers(ours) == [2]


@pytest.mark.fault("F71")
def test_the_newest_sound_one_is_never_removed(store: Watched) -> None:
    for number in range(4):
        manager(store).create("run", number)
    store.damage(CheckpointKey("run", 3, kind=Kind.MANUAL))
    ours = manager(store, max_checkpoints_per_run=1, max_age_seconds=0.000001)
    ours.prune("run")
    recovery = ours.recover("run")
    assert recovery.checkpoint is not None
    assert recovery.checkpoint.state == 2


def test_expired_ones_are_removed_and_counted(store: Watched) -> None:
    ours = manager(store, default_ttl_seconds=0.000001)
    ours.create("run", 1)
    ours.create("run", 2, ttl_seconds=0)
    ours.create("run", 3, ttl_seconds=3600)
    ours.create("gone", 1)
    assert ours.cleanup() == 2
    assert numbers(ours) == [1, 2]
    assert store.runs().items == ("run",)


@pytest.mark.parametrize("ttl", [-1, float("inf"), float("nan")])
def test_a_time_to_live_that_is_none_is_refused(store: Watched, ttl: float) -> None:
    with pytest.raises(Misconfigured, match="ttl_seconds"):
        manager(store).create("run", 1, ttl_seconds=ttl)


def test_none_and_zero_are_different_times_to_live(store: Watched) -> None:
    ours = manager(store, default_ttl_seconds=60)
    assert create(ours, "run", 1).metadata.ttl_seconds == 60
    assert create(ours, "run", 1, ttl_seconds=0).metadata.ttl_seconds is None
    assert create(ours, "run", 1, ttl_seconds=5).metadata.ttl_seconds == 5


@pytest.mark.parametrize(("on_success", "left"), [("all", 4), ("final", 1), ("none", 0)])
def test_success_leaves_what_was_asked_for(store: Watched, on_success: str, left: int) -> None:
    ours = manager(store, on_success=on_success)
    for number in range(3):
        ours.create("run", number)
    final = ours.mark_completed("run")
    assert (final.metadata.status, final.state) == (Status.COMPLETED, 2)
    assert len(ours.list_checkpoints("run")) == left
    if left:
        assert ours.restore("run") == final


def test_the_engines_commits_are_not_touched(store: Watched) -> None:
    ours = manager(store, max_checkpoints_per_run=1, max_age_seconds=0.000001)
    metadata = CheckpointMetadata(run_id="run", sequence=0)
    store.put(ours.serializer.encode(Checkpoint(metadata=metadata)))
    for number in range(3):
        ours.create("run", number)
    ours.cleanup()
    assert len(store.history("run", Kind.COMMIT).items) == 1
    assert ours.usage("run").checkpoints == 2


def test_usage_is_counted_in_records_and_bytes(store: Watched) -> None:
    ours = manager(store)
    for run_id in ("run", "other"):
        ours.create(run_id, "x" * 1000)
        ours.create(run_id, "x" * 1000)
    usage = ours.usage("run")
    assert usage.checkpoints == 2
    assert 2000 < usage.bytes < 4000
    total = ours.total_usage()
    assert (total.checkpoints, total.bytes) == (4, usage.bytes + ours.usage("other").bytes)
    assert ours.usage("nobody").checkpoints == 0


def test_cleanup_goes_on_in_the_background(store: Watched) -> None:
    ours = manager(store, cleanup_interval=0.05, max_checkpoints_per_run=1)
    for number in range(3):
        CheckpointManager(store).create("run", number)
    ours.start()
    eventually(lambda: numbers(ours) == [2], 10)
    ours.stop()
    ours.stop()


def test_a_cleanup_that_fails_is_logged_counted_and_tried_again(
    store: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    CheckpointManager(store).create("run", 1, ttl_seconds=0.000001)
    ours = manager(store, cleanup_interval=0.02)
    store.broken = True
    ours.start()
    eventually(lambda: ours.failed_cleanups >= 2, 10)
    store.broken = False
    eventually(lambda: not ours.list_checkpoints("run"), 10)
    ours.stop()
    assert "tried again" in caplog.text


@pytest.mark.fault("F64")
def test_restoring_passes_over_damage_only_if_asked_and_says_so(
    store: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    ours = manager(store)
    made = [create(ours, "run", number) for number in range(2)]
    made.append(create(ours, "run", 2, ttl_seconds=0.000001))
    made.append(create(ours, "run", 3))
    store.damage(made[3].metadata.key)
    with pytest.raises(Corrupt):
        ours.restore("run")
    with caplog.at_level(logging.WARNING):
        assert ours.restore("run", fall_back=True) == made[1]
    assert caplog.text.count("passed over") == 2
    recovery = ours.recover("run")
    assert recovery.checkpoint == made[1]
    assert [type(error) for error in recovery.passed_over] == [Corrupt, Expired]
    with pytest.raises(Corrupt):
        ours.recover("run", earlier=False)
    assert ours.recover("run", earlier=False, fresh=True).checkpoint is None


def test_a_fresh_start_is_an_explicit_choice(store: Watched) -> None:
    ours = manager(store)
    with pytest.raises(NotFound):
        ours.recover("run")
    assert ours.recover("run", fresh=True).checkpoint is None
    store.damage(create(ours, "run", 1).metadata.key)
    with pytest.raises(Corrupt):
        ours.recover("run")
    recovery = ours.recover("run", fresh=True)
    assert recovery.checkpoint is None
    assert len(recovery.passed_over) == 1


def test_every_checkpoint_can_be_inspected(store: Watched) -> None:
    ours = manager(store)
    made = [create(ours, "run", number) for number in range(3)]
    store.damage(made[1].metadata.key)
    found = ours.inspect("run")
    assert [key.sequence for key in found] == [2, 1, 0]
    assert found[made[0].metadata.key] == made[0].metadata
    assert isinstance(found[made[1].metadata.key], Corrupt)


def test_an_id_tells_its_run_and_is_of_one_life(store: Watched) -> None:
    ours = manager(store)
    before = create(ours, "my-run-1.2", 1)
    assert before.checkpoint_id.startswith("ckpt-my-run-1.2-")
    assert ours.restore_from(before.checkpoint_id) == before
    ours.delete_run("my-run-1.2")
    create(ours, "my-run-1.2", "another")
    with pytest.raises(NotFound):
        ours.restore_from(before.checkpoint_id)
    assert ours.delete(before.checkpoint_id) is False
    assert ours.delete(create(ours, "my-run-1.2", 3).checkpoint_id) is True


def test_an_error_is_kept_and_goes_on(store: Watched) -> None:
    ours = manager(store)
    ours.create("run", {"row": 7})
    with pytest.raises(ZeroDivisionError), ours.failures_kept("run"):
        raise ZeroDivisionError("by nought")
    last = ours.restore("run")
    assert last is not None
    assert (last.metadata.status, last.state) == (Status.FAILED, {"row": 7})
    assert last.metadata.error == "ZeroDivisionError: by nought"
    with pytest.raises(ZeroDivisionError), ours.failures_kept("nobody"):
        raise ZeroDivisionError("before the first")
    first = ours.restore("nobody")
    assert first is not None
    assert (first.metadata.status, first.state) == (Status.FAILED, None)
    assert first.metadata.error == "ZeroDivisionError: before the first"
