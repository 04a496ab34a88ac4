"""Making runs, and reading them back."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from milepost.checkpointing import AlreadyExists, CheckpointKey, Record

from ..head import Head, RunStatus
from ..query import RunQuery
from ..runs.base import Birth, Claim, RunStore
from ..settings import TaskSettings
from .case import (
    MakeStore,
    RunStoreCase,
    claimed,
    created,
    new_bid,
    new_head,
    new_push,
    new_record,
    read,
)


class Creating(RunStoreCase):
    """`create`, `create_many`, `get`, `identity`, `holds_log`, `put_aside`."""

    def test_a_new_run_is_queued_with_all_it_was_given(self, store: RunStore) -> None:
        head = new_head(tags=("nightly", "eu"), time_limit_ms=5)
        assert store.create(head, record=None, push=None) is None
        stands = read(store, head.run_id)
        assert stands.created_at > 0
        assert stands.updated_at > 0
        assert stands == replace(head, created_at=stands.created_at, updated_at=stands.updated_at)

    def test_a_pushed_message_counts_as_published(self, store: RunStore) -> None:
        head = new_head()
        store.create(head, record=None, push=new_push("go"))
        assert self.messages(store) == ["go"]
        assert read(store, head.run_id).published_at > 0

    def test_many_are_read_in_the_order_asked_for(self, store: RunStore) -> None:
        first, second = created(store), created(store)
        asked = [second.run_id, "nobody", first.run_id, second.run_id]
        assert store.get_many(asked) == [second, None, first, second]
        assert store.get_many([]) == []

    def test_creating_again_returns_what_stands_and_pushes_nothing(self, store: RunStore) -> None:
        head = new_head()
        store.create(head, record=None, push=new_push("go"))
        stands = read(store, head.run_id)
        again = replace(head, digest="another")
        assert store.create(again, record=None, push=new_push("go")) == stands
        assert self.messages(store) == ["go"]

    def test_a_run_with_a_delay_is_scheduled_and_then_queued(self, store: RunStore) -> None:
        head = created(store, delay_ms=200)
        assert head.status is RunStatus.SCHEDULED
        seen = self.looked_at(store, head.run_id)
        assert (seen.status, seen.published_at) == (RunStatus.QUEUED, 0)

    def test_an_unknown_run_has_no_head(self, store: RunStore) -> None:
        assert store.get("nobody") is None

    def test_the_input_is_written_with_the_run_and_handed_to_its_claim(
        self, store: RunStore
    ) -> None:
        log, head = self.make_log(store), new_head()
        if not store.holds_log(log):
            pytest.skip("this store keeps no log")
        store.create(head, record=new_record(head), push=None)
        assert log.get(head.key) == new_record(head)
        claim = store.claim(head.step, new_bid())
        assert isinstance(claim, Claim)
        assert claim.record == new_record(head)

    def test_a_log_without_its_run_is_not_taken_over(self, store: RunStore) -> None:
        log, head = self.make_log(store), new_head()
        if not store.holds_log(log):
            pytest.skip("this store keeps no log")
        log.put(new_record(head, "something else"))
        with pytest.raises(AlreadyExists):
            store.create(head, record=new_record(head), push=new_push("go"))
        assert store.get(head.run_id) is None
        assert self.messages(store) == []

    def test_many_are_made_as_one_by_one(self, store: RunStore) -> None:
        pattern = replace(new_head(tags=("batch",)), tenant="acme")
        taken = created(store)
        births = [
            Birth(f"many-{number}", f"d{number}", f"c{number}", None, new_push(f"m{number}"))
            for number in range(40)
        ]
        births.insert(20, Birth(taken.run_id, "other", "c", None, new_push("never")))
        outcomes = store.create_many(pattern, births)
        assert outcomes == [None] * 20 + [taken] + [None] * 20
        assert sorted(self.messages(store)) == sorted(f"m{number}" for number in range(40))
        one, alone = read(store, "many-7"), created(store, replace(pattern, run_id="alone"))
        own = {"run_id", "digest", "checkpoint_id", "created_at", "updated_at", "published_at"}
        for name, value in asdict(one).items():
            assert name in own or value == getattr(alone, name), name
        assert (one.digest, one.checkpoint_id, one.published_at > 0) == ("d7", "c7", True)
        listed = store.find(RunQuery(tag="batch", tenant="acme"), limit=100).items
        assert len({head.run_id for head in listed}) == len(listed) == 41
        assert {head.run_id for head in store.find(limit=100).items} >= {b.run_id for b in births}
        ages = [head.created_at for head in listed]
        assert ages == sorted(ages, reverse=True)
        assert store.counts()["orders", RunStatus.QUEUED] == 42
        claimed(store, one)
        assert all(isinstance(again, Head) for again in store.create_many(pattern, births))

    def test_many_can_be_made_for_later(self, store: RunStore) -> None:
        births = [
            Birth(f"later-{number}", "d", f"c{number}", None, new_push("too early"))
            for number in range(3)
        ]
        store.create_many(new_head(), births, delay_ms=200)
        later, due = read(store, "later-0"), store.oldest_due()
        assert (later.status, later.published_at) == (RunStatus.SCHEDULED, 0)
        assert self.messages(store) == []
        assert due is not None
        assert due <= store.now() + 200
        assert store.look().heads == ()
        assert self.looked_at(store, "later-2").status is RunStatus.QUEUED

    def test_many_are_looked_at_when_patience_is_over(self, make_store: MakeStore) -> None:
        store = make_store(TaskSettings(patience_seconds=60))
        store.create_many(new_head(), [Birth("a", "d", "c"), Birth("b", "d", "c")])
        due = store.oldest_due()
        assert due is not None
        assert 50_000 < due - store.now() <= 60_000

    def test_the_logs_of_many_are_kept_or_refused_one_by_one(self, store: RunStore) -> None:
        log, head = self.make_log(store), new_head()
        if not store.holds_log(log):
            pytest.skip("this store keeps no log")
        records = {
            name: Record(CheckpointKey(name, 0), b"header", name.encode())
            for name in ("log-1", "log-2", "log-3")
        }
        log.put(Record(CheckpointKey("log-2", 0), b"another", b"body"))
        log.put(records["log-3"])
        births = [Birth(name, "d", "c", record) for name, record in records.items()]
        first, second, third = store.create_many(head, births)
        assert (first, third) == (None, None)
        assert isinstance(second, AlreadyExists)
        assert store.get("log-2") is None
        assert log.latest("log-3") == records["log-3"]
        assert {*log.runs().items} == {"log-1", "log-2", "log-3"}

    def test_the_identity_stays(self, store: RunStore) -> None:
        assert store.identity()
        assert store.identity() == store.identity()

    def test_what_is_put_aside_is_returned_newest_first(self, store: RunStore) -> None:
        for number in range(3):
            store.put_aside("no stage", f"message {number}")
        entries = store.aside(2)
        assert [entry["message"] for entry in entries] == ["message 2", "message 1"]
        assert entries[0]["reason"] == "no stage"
        assert float(entries[0]["at"]) > 0
