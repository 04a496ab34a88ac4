"""Both run stores keep the contract; in Redis, claiming and committing cost one round trip each."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from milepost.checkpointing import CheckpointStore, Record
from milepost.checkpointing.redis_connection import prefix_of
from milepost.checkpointing.stores.memory import MemoryCheckpointStore
from milepost.checkpointing.stores.redis import RedisCheckpointStore
from milepost.checkpointing.stores.sql import SQLCheckpointStore
from milepost.tasks.head import Head, RunStatus
from milepost.tasks.query import RunQuery
from milepost.tasks.runs import redis_listing
from milepost.tasks.runs.base import Advance, Birth, Claim, RunStore
from milepost.tasks.runs.memory import MemoryRunStore
from milepost.tasks.runs.redis import RedisRunStore
from milepost.tasks.runs.registry import Note
from milepost.tasks.runs.sql import SQLRunStore
from milepost.tasks.settings import TaskSettings
from milepost.tasks.testing import RunStoreContract
from milepost.tasks.testing.case import (
    QUEUE_KEY,
    MakeStore,
    claimed,
    commit_of,
    created,
    deleted,
    new_bid,
    new_head,
    new_push,
    new_record,
    read,
)
from milepost.tasks.testing.intending import landing, redirecting
from milepost.tasks.transitions import Command
from support.waiting import eventually


class TestMemoryRunStore(RunStoreContract):
    @pytest.fixture(autouse=True)
    def _clock(self) -> None:
        self.now = 1_700_000_000_000

    @pytest.fixture
    def make_store(self) -> MakeStore:
        return lambda settings: MemoryRunStore(settings, clock=lambda: self.now)

    def make_log(self, store: RunStore) -> CheckpointStore:
        assert isinstance(store, MemoryRunStore)
        return store.log

    def messages(self, store: RunStore) -> list[str]:
        assert isinstance(store, MemoryRunStore)
        return [payload for key, payload in store.pushed if key == QUEUE_KEY]

    def pass_time(self) -> None:
        self.now += 50


class TestRedisRunStore(RunStoreContract):
    @pytest.fixture
    def make_store(self, redis_url: str) -> Iterator[MakeStore]:
        stores: list[RunStore] = []

        def make(settings: TaskSettings) -> RunStore:
            stores.append(RedisRunStore(redis_url, settings))
            return stores[-1]

        self.log = RedisCheckpointStore(redis_url)
        yield make
        self.log.close()
        for store in stores:
            store.close()

    def make_log(self, store: RunStore) -> CheckpointStore:
        return self.log

    def messages(self, store: RunStore) -> list[str]:
        assert isinstance(store, RedisRunStore)
        payloads: Any = store.client.lrange(QUEUE_KEY, 0, -1)
        return [payload.decode() for payload in payloads]


class SQLRunStoreContract(RunStoreContract):
    """Both databases, with the pushes that a database has no queues for kept by the test."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def make_store(self, url: str) -> Iterator[MakeStore]:
        self.pushed: list[tuple[str, str]] = []
        stores: list[RunStore] = []

        def make(settings: TaskSettings) -> RunStore:
            stores.append(
                SQLRunStore(url, settings, lambda key, payload: self.pushed.append((key, payload)))
            )
            return stores[-1]

        self.log = SQLCheckpointStore(url)
        yield make
        self.log.close()
        for store in stores:
            store.close()

    def make_log(self, store: RunStore) -> CheckpointStore:
        return self.log

    def messages(self, store: RunStore) -> list[str]:
        # Newest first, as a Redis list to which is pushed at the left.
        return [payload for key, payload in reversed(self.pushed) if key == QUEUE_KEY]


class TestSQLiteRunStore(SQLRunStoreContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/runs.db"


class TestPostgreSQLRunStore(SQLRunStoreContract):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url


def test_claim_and_advance_are_one_script_call_each(redis_url: str) -> None:
    store = RedisRunStore(redis_url)

    def begun() -> Head:
        head = new_head()
        store.create(head, record=new_record(head), push=new_push("go"))
        return head

    def scripts_called() -> dict[str, int]:
        stats: Any = store.client.info("commandstats")
        names = ("evalsha", "eval", "script|load")
        return {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in names}

    warm = claimed(store, begun())
    store.advance(warm, commit_of(warm))
    head = begun()
    once = {"evalsha": 1, "eval": 0, "script|load": 0}

    store.client.config_resetstat()
    claim = store.claim(head.step, new_bid())
    assert scripts_called() == once
    assert isinstance(claim, Claim)
    assert claim.record == new_record(head)

    store.client.config_resetstat()
    commit = commit_of(claim, push=new_push("next"))
    key = replace(head, at=commit.path).key
    commit = replace(commit, record=Record(key, b"header", b"body"))
    assert store.advance(claim, commit) is Advance.ADVANCED
    assert scripts_called() == once
    store.close()


def test_another_redis_log_is_not_held(redis_url: str) -> None:
    with RedisCheckpointStore(redis_url.removesuffix("/0") + "/1") as elsewhere:
        store = RedisRunStore(redis_url)
        assert not store.holds_log(elsewhere)
        assert not store.holds_log(MemoryCheckpointStore())
        store.close()


def test_a_deleted_run_is_in_no_key(redis_url: str) -> None:
    """Listings pass over what an index still has of it, so nobody would see it grow."""
    store = RedisRunStore(redis_url)

    def keys() -> set[str]:
        return {key.decode() for key in store.client.scan_iter("*", 1_000)}

    def owned() -> set[str]:
        return {key for key in keys() if not key.endswith((":owners", ":spared"))}

    store.note(Note("", "ann", "edit"))
    before = owned()
    head = replace(new_head(tags=("eu", "night")), tenant="acme")
    store.create(head, record=new_record(head), push=None)
    store.note(Note(head.run_id, "ann", "retry"))
    claimed(store, head, new_bid("ann"))
    store.bury("ann", "child")
    assert store.fail(claimed(store, head), '{"group": "g"}', None)
    others = [Birth(f"many-{n}", "d", "c", new_record(new_head(f"many-{n}"))) for n in range(9)]
    assert store.create_many(head, others, delay_ms=60_000) == [None] * 9
    for other in others:
        store.pause(other.run_id)
        deleted(store, other.run_id)
    assert keys() > before
    deleted(store, head.run_id)
    assert owned() == before
    store.close()


def test_a_run_keeps_no_more_than_its_last_hundred_notes(redis_url: str) -> None:
    """They stand beside its head, and a program may command it every second."""
    store = RedisRunStore(redis_url)
    store.note(*(Note("run", "ann", "edit", str(number)) for number in range(120)))
    assert [note.detail for note in store.notes("run", limit=500)][::99] == ["119", "20"]
    store.close()


def test_many_of_a_shard_are_listed_in_their_order(redis_url: str) -> None:
    """Not by their names, though one script made them in the same microsecond."""
    store, shards = RedisRunStore(redis_url), defaultdict[str, list[str]](list)
    names = [f"many-{number}" for number in range(99, 9, -1)]
    store.create_many(new_head(), [Birth(name, "d", "c") for name in names])
    for head in store.find(limit=100).items:
        shards[prefix_of(head.run_id)].append(head.run_id)
    assert any(len(listed) > 1 for listed in shards.values())
    assert all(listed == sorted(listed) for listed in shards.values())
    store.close()


def test_what_an_index_has_too_long_is_not_listed(redis_url: str) -> None:
    """A run may move on between the reading of the index and that of its head."""
    store = RedisRunStore(redis_url)
    head = new_head()
    store.create(head, record=None, push=None)
    stale = f"{prefix_of(head.run_id)}status:failed"
    store.client.zadd(stale, {head.run_id: 1})
    assert store.find(RunQuery.of(RunStatus.FAILED)).items == ()
    assert store.oldest(RunStatus.FAILED) == []
    store.close()


def test_a_page_is_searched_for_in_so_many_runs_at_most(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is short then, even empty, and its cursor leads on."""
    monkeypatch.setattr(redis_listing, "_LONGEST_SEARCH", 20)
    store, query = RedisRunStore(redis_url), RunQuery(stage="second")
    wanted = replace(new_head(), stage="second")
    store.create(wanted, record=None, push=None)
    store.create_many(new_head(), [Birth(f"many-{n}", "d", "c") for n in range(60)])
    page = store.find(query, limit=2)
    assert page.items == ()
    searched = 1
    while page.cursor is not None:
        page = store.find(query, limit=2, cursor=page.cursor)
        searched += 1
    assert [head.run_id for head in page.items] == [wanted.run_id]
    assert searched > 1
    store.close()


def test_a_group_stands_where_its_latest_failure_is(redis_url: str) -> None:
    """In its shard, too: be an older one edited, or the latest retried."""
    store, shard = RedisRunStore(redis_url), prefix_of("run-0")
    names = [name for n in range(5_000) if prefix_of(name := f"run-{n}") == shard][:3]
    heads = []
    for name, group in zip(names, "aba", strict=True):
        claim = claimed(store, created(store, new_head(name)))
        store.fail(claim, json.dumps({"group": group}), None)
        heads.append(read(store, name))
        eventually(lambda at=heads[-1].finished_at: store.now() > at, 5)  # type: ignore[misc]
    store.intend(names[0], redirecting(heads[0], Command.EDIT))
    intended = read(store, names[0])
    assert store.settle(intended, landing(intended, RunStatus.FAILED))
    assert [group.group for group in store.groups()] == ["a", "b"]
    assert store.resume(heads[2])
    assert [group.group for group in store.groups()] == ["b", "a"]
    store.close()


def test_a_page_is_full_though_one_shard_has_all_of_it(redis_url: str) -> None:
    """Each shard is asked for little more than its share at first."""
    store, shard = RedisRunStore(redis_url), prefix_of("run-0")
    names = [name for n in range(50_000) if prefix_of(name := f"run-{n}") == shard][:40]
    store.create_many(new_head(), [Birth(name, "d", "c") for name in names])
    page = store.find(limit=30)
    assert [head.run_id for head in page.items] == names[:-31:-1]
    assert page.cursor is not None
    store.close()
