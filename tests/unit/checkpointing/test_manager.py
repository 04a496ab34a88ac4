"""The verbs on checkpoints, and what they promise of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from milepost.checkpointing import (
    Checkpoint,
    CheckpointKey,
    CheckpointManager,
    CheckpointMetadata,
    CheckpointSettings,
    Corrupt,
    Expired,
    InvalidName,
    Kind,
    NotFound,
    NotSerializable,
    Record,
    Status,
    TooLarge,
)
from milepost.checkpointing.stores.memory import MemoryCheckpointStore


class Order(BaseModel):
    number: int
    price: float = 0.5


class OpenStore(MemoryCheckpointStore):
    """A memory store whose records a test can damage."""

    def damage(
        self, key: CheckpointKey, *, header: bytes | None = None, body: bytes | None = None
    ) -> None:
        sound = self._runs[key.run_id][key.path]
        self._runs[key.run_id][key.path] = Record(
            key,
            sound.header if header is None else header,
            sound.body if body is None else body,
        )


@pytest.fixture
def store() -> OpenStore:
    return OpenStore()


@pytest.fixture
def manager(store: OpenStore) -> Iterator[CheckpointManager]:
    with CheckpointManager(store) as manager:
        yield manager


def create(manager: CheckpointManager, *args: Any, **options: Any) -> Checkpoint:
    """Create a checkpoint that is not put off."""
    checkpoint = manager.create(*args, **options)
    assert checkpoint is not None
    return checkpoint


def restore(manager: CheckpointManager, run_id: str, **options: Any) -> Checkpoint:
    """Restore a checkpoint that is there."""
    checkpoint = manager.restore(run_id, **options)
    assert checkpoint is not None
    return checkpoint


def commit(manager: CheckpointManager, sequence: int, state: Any, *, timeline: int = 0) -> Record:
    metadata = CheckpointMetadata(run_id="run", sequence=sequence, timeline=timeline)
    record = manager.serializer.encode(Checkpoint(metadata=metadata, state=state))
    manager.store.put(record)
    return record


def test_what_was_created_is_restored(manager: CheckpointManager) -> None:
    created = create(
        manager,
        "run",
        {"a": 1},
        messages=[{"role": "user"}],
        tool_calls=[{"name": "f"}],
        context={"c": None},
        step_name="load",
        tags=["nightly"],
        cost={"usd": 0.1},
        status=Status.RUNNING,
        error="none",
    )
    assert restore(manager, "run") == created
    assert manager.get(created.metadata.key) == created
    assert manager.restore_from(created.metadata.checkpoint_id, "run") == created
    metadata = created.metadata
    assert (metadata.kind, metadata.sequence, metadata.parent) == (Kind.MANUAL, 0, None)
    assert (metadata.stage, metadata.tags, metadata.cost) == ("load", ("nightly",), {"usd": 0.1})


def test_each_checkpoint_follows_the_one_before(manager: CheckpointManager) -> None:
    made = [create(manager, "run", n) for n in range(4)]
    assert [c.metadata.sequence for c in made] == [0, 1, 2, 3]
    assert [c.metadata.parent for c in made[1:]] == [c.metadata.checkpoint_id for c in made[:-1]]
    assert restore(manager, "run").state == 3
    assert manager.restore_from(made[1].metadata.checkpoint_id, "run").state == 1


def test_a_parent_can_be_named(manager: CheckpointManager) -> None:
    first = create(manager, "run", 0)
    create(manager, "run", 1)
    branch = create(manager, "run", 2, parent_id=first.metadata.checkpoint_id)
    assert branch.metadata.parent == first.metadata.checkpoint_id


def test_a_model_comes_back_by_its_type(manager: CheckpointManager) -> None:
    created = create(manager, "run", Order(number=3))
    assert restore(manager, "run").state == {"number": 3, "price": 0.5}
    assert restore(manager, "run", state_type=Order).state == Order(number=3)
    assert manager.get(created.metadata.key, state_type=Order).state == Order(number=3)
    with pytest.raises(ValidationError):
        restore(manager, "run", state_type=list[int])


def test_the_engines_commits_come_first(manager: CheckpointManager) -> None:
    create(manager, "run", "ours")
    assert restore(manager, "run").state == "ours"
    commit(manager, 5, "old")
    commit(manager, 1, "new", timeline=1)
    create(manager, "run", "ours again")
    assert restore(manager, "run").state == "new"


def test_creating_never_touches_the_engines_series(manager: CheckpointManager) -> None:
    record = commit(manager, 0, "commit")
    created = create(manager, "run", "ours")
    assert created.metadata.key.path != record.key.path
    assert manager.store.get(record.key) == record
    assert len(manager.store.history("run", Kind.COMMIT).items) == 1


@pytest.mark.parametrize("name", ["", "../a", "a b", "a\0", "a" * 129])
def test_hostile_names_are_refused_before_the_store_is_reached(
    manager: CheckpointManager, name: str
) -> None:
    calls: list[Any] = [
        lambda: create(manager, name),
        lambda: create(manager, "run", step_name=name),
        lambda: create(manager, "run", tags=["good", name]),
        lambda: restore(manager, name),
        lambda: manager.restore_from("x", name),
        lambda: manager.list_checkpoints(name),
        lambda: manager.delete_run(name),
        lambda: manager.mark_completed(name),
        lambda: manager.mark_failed(name),
    ]
    for call in calls:
        with pytest.raises(InvalidName):
            call()
    assert manager.store.runs().items == ()


def test_an_absent_run_is_not_found(manager: CheckpointManager) -> None:
    create(manager, "other")
    calls: list[Any] = [
        lambda: manager.recover("run"),
        lambda: manager.restore_from("0" * 32, "run"),
        lambda: manager.restore_from("0" * 32),
        lambda: manager.restore_from("ckpt-run-0.0-0123456789ab"),
        lambda: manager.get(CheckpointKey("run", 0)),
        lambda: manager.mark_completed("run"),
        lambda: manager.mark_failed("run", "x"),
    ]
    for call in calls:
        with pytest.raises(NotFound) as caught:
            call()
        assert not isinstance(caught.value, Expired)
    assert manager.restore("run") is None
    assert manager.restore("run", fall_back=True) is None
    assert manager.list_checkpoints("run") == []
    assert manager.delete("ckpt-run-0.0-0123456789ab") is False
    assert manager.delete(CheckpointKey("run", 0)) is False
    assert manager.delete_run("run") == 0


def test_what_cannot_be_kept_leaves_nothing(store: OpenStore) -> None:
    manager = CheckpointManager(store, CheckpointSettings(max_record_bytes=100))
    with pytest.raises(NotSerializable):
        create(manager, "run", {"a": float("nan")})
    with pytest.raises(TooLarge):
        create(manager, "run", "a" * 100)
    with pytest.raises(ValidationError):
        create(manager, "run", cost={"usd": float("inf")})
    assert store.runs().items == ()


def test_an_expired_checkpoint_says_so(manager: CheckpointManager) -> None:
    created = create(manager, "run", 1, ttl_seconds=0.000001)
    calls: list[Callable[[], Checkpoint]] = [
        lambda: restore(manager, "run"),
        lambda: manager.get(created.metadata.key),
        lambda: manager.restore_from(created.metadata.checkpoint_id, "run"),
        lambda: manager.mark_completed("run"),
    ]
    for call in calls:
        with pytest.raises(Expired) as caught:
            call()
        assert caught.value.run_id == "run"
    assert [m.is_expired for m in manager.list_checkpoints("run")] == [True]


def test_a_later_checkpoint_takes_the_place_of_an_expired_one(manager: CheckpointManager) -> None:
    create(manager, "run", 1, ttl_seconds=0.000001)
    later = create(manager, "run", 2, ttl_seconds=3600)
    assert later.metadata.sequence == 1
    assert restore(manager, "run").state == 2
    left = later.metadata.expires_at
    assert left is not None
    assert timedelta(minutes=59) < left - datetime.now(UTC) <= timedelta(hours=1)


def test_a_corrupt_latest_is_not_replaced_by_an_earlier_one(
    manager: CheckpointManager, store: OpenStore
) -> None:
    first = create(manager, "run", 1)
    last = create(manager, "run", 2)
    store.damage(last.metadata.key, body=b"damaged")
    with pytest.raises(Corrupt) as caught:
        restore(manager, "run")
    assert caught.value.key == last.metadata.key
    with pytest.raises(Corrupt):
        manager.restore_from(last.metadata.checkpoint_id, "run")
    assert manager.restore_from(first.metadata.checkpoint_id, "run") == first


def test_a_corrupt_commit_is_not_replaced_by_a_manual_one(
    manager: CheckpointManager, store: OpenStore
) -> None:
    create(manager, "run", "ours")
    record = commit(manager, 0, "commit")
    store.damage(record.key, header=record.header[:-1] + b"!")
    with pytest.raises(Corrupt):
        restore(manager, "run")


def test_a_damaged_header_does_not_hide_the_others(
    manager: CheckpointManager, store: OpenStore
) -> None:
    first = create(manager, "run", 1)
    second = create(manager, "run", 2)
    store.damage(second.metadata.key, header=b"damaged")
    assert manager.restore_from(first.metadata.checkpoint_id, "run") == first
    with pytest.raises(Corrupt):
        manager.restore_from(second.metadata.checkpoint_id, "run")


def test_another_runs_record_is_never_restored(
    manager: CheckpointManager, store: OpenStore
) -> None:
    create(manager, "run", 1)
    theirs = create(manager, "theirs", 2)
    record = store.get(theirs.metadata.key)
    store.damage(CheckpointKey("run", 0, kind=Kind.MANUAL), header=record.header, body=record.body)
    with pytest.raises(Corrupt, match="theirs"):
        restore(manager, "run")


def test_two_racing_creators_get_two_numbers(manager: CheckpointManager) -> None:
    start = Barrier(8)

    def many(number: int) -> list[int]:
        start.wait()
        return [create(manager, "run", number).metadata.sequence for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        numbers = [number for made in pool.map(many, range(8)) for number in made]
    assert sorted(numbers) == list(range(40))


def test_a_creator_that_lost_its_number_takes_the_next(store: OpenStore) -> None:
    class Raced(OpenStore):
        rival: CheckpointManager | None = None

        def put(self, record: Record) -> None:
            rival, self.rival = self.rival, None
            if rival is not None:
                rival.create("run", "rival")
            super().put(record)

    raced = Raced()
    raced.rival = CheckpointManager(raced)
    created = create(CheckpointManager(raced), "run", "ours")
    assert created.metadata.sequence == 1
    rival = raced.get(CheckpointKey("run", 0, kind=Kind.MANUAL))
    assert CheckpointManager(raced).serializer.decode(rival).state == "rival"
    assert created.metadata.parent == (
        CheckpointManager(raced).serializer.metadata(rival.key, rival.header).checkpoint_id
    )


def test_a_list_shows_the_newest_first(manager: CheckpointManager) -> None:
    made = []
    for n in range(3):
        made.append(create(manager, "run", n).metadata)
        record = commit(manager, n, n)
        made.append(manager.serializer.metadata(record.key, record.header))
    create(manager, "other")
    assert manager.list_checkpoints("run") == made[::-1]
    assert manager.list_checkpoints("run", limit=2) == made[:-3:-1]
    assert manager.list_checkpoints("run", limit=0) == []


def test_a_list_goes_over_many_pages(manager: CheckpointManager) -> None:
    for n in range(230):
        commit(manager, n, n)
    assert [metadata.sequence for metadata in manager.list_checkpoints("run")] == list(
        range(229, -1, -1)
    )


def test_deleting(manager: CheckpointManager) -> None:
    made = [create(manager, "run", n) for n in range(3)]
    assert manager.delete(made[2].metadata.key) is True
    assert manager.delete(made[2].metadata.key) is False
    assert restore(manager, "run") == made[1]
    commit(manager, 0, 0)
    assert manager.delete_run("run") == 3
    assert manager.list_checkpoints("run") == []


def test_marking_keeps_the_state(manager: CheckpointManager) -> None:
    last = create(
        manager,
        "run",
        Order(number=9),
        messages=[1],
        tool_calls=[2],
        context={"a": 3},
        step_name="load",
        tags=["t"],
    )
    done = manager.mark_completed("run")
    assert done.metadata.status is Status.COMPLETED
    assert done.metadata.parent == last.metadata.checkpoint_id
    assert restore(manager, "run", state_type=Order).state == Order(number=9)
    failed = manager.mark_failed("run", "it broke")
    assert (failed.metadata.status, failed.metadata.error) == (Status.FAILED, "it broke")
    assert (failed.messages, failed.tool_calls, failed.context) == ([1], [2], {"a": 3})
    assert (failed.metadata.stage, failed.metadata.tags) == ("load", ("t",))
    assert restore(manager, "run") == failed


def test_a_store_can_be_named_by_its_url() -> None:
    with CheckpointManager("memory://") as manager:
        create(manager, "run", 1)
        assert restore(manager, "run").state == 1


def test_the_clock_of_a_memory_store_decides_its_expiry() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    store = MemoryCheckpointStore(clock=lambda: now)
    CheckpointManager(store).create("run", 1)
    store.expire_run("run", now + timedelta(seconds=1))
    assert store.runs().items == ("run",)
    now += timedelta(seconds=1)
    assert store.runs().items == ()
