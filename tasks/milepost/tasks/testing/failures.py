"""What is told of failures: groups of one cause, and stages that lose their workers."""

from __future__ import annotations

import json
from itertools import count, islice

from milepost.checkpointing.redis_connection import prefix_of

from ..failure import fingerprint
from ..head import RunStatus
from ..query import RunQuery
from ..runs.base import Advance, Claim, RunStore
from ..transitions import Command
from .case import (
    RunStoreCase,
    cancelling,
    claimed,
    commit_of,
    created,
    deleted,
    new_bid,
    new_head,
    read,
)
from .intending import landing, redirecting


def failed(store: RunStore, group: str) -> Claim:
    """Make a run that has failed for that cause."""
    claim = claimed(store)
    assert store.fail(claim, json.dumps({"type": "E", "message": "m", "group": group}), None)
    return claim


class Failures(RunStoreCase):
    """`groups` and `struggling`."""

    def test_failed_runs_are_grouped_by_cause(self, store: RunStore) -> None:
        runs = [failed(store, group).head.run_id for group in ("a", "b", "a", "a")]
        groups = {group.group: group for group in store.groups()}
        assert {name: group.count for name, group in groups.items()} == {"a": 3, "b": 1}
        assert groups["a"].example.run_id in runs
        assert groups["a"].example.failure is not None
        assert groups["a"].first_at == read(store, runs[0]).finished_at
        assert groups["a"].last_at == read(store, runs[3]).finished_at
        assert len(store.groups(limit=1)) == 1
        found = store.find(RunQuery(group="a")).items
        assert [head.run_id for head in found] == [runs[3], runs[2], runs[0]]
        assert store.find(RunQuery.of(RunStatus.FAILED, group="b")).items[0].run_id == runs[1]

    def test_the_latest_failure_comes_first(self, store: RunStore) -> None:
        heads = []
        for group in ("a", "b", "a", "a", "a", "c", "a", "b"):
            head = read(store, failed(store, group).head.run_id)
            heads.append(head)
            self.eventually(lambda at=head.finished_at: store.now() > at)  # type: ignore[misc]
        found = store.groups()
        assert [(group.group, group.count) for group in found] == [("b", 2), ("a", 5), ("c", 1)]
        assert [group.example.run_id for group in found] == [
            heads[place].run_id for place in (7, 6, 5)
        ]
        assert (found[0].first_at, found[0].last_at) == (heads[1].finished_at, heads[7].finished_at)
        assert [group.group for group in store.groups(limit=2)] == ["b", "a"]
        store.intend(heads[0].run_id, redirecting(heads[0], Command.EDIT))
        edited = read(store, heads[0].run_id)
        assert store.settle(edited, landing(edited, RunStatus.FAILED))
        assert store.groups() == found
        store.resume(heads[7])
        assert [group.group for group in store.groups()] == ["a", "c", "b"]
        assert [group.group for group in store.groups(limit=2)] == ["a", "c"]
        store.resume(heads[5])
        assert [group.group for group in store.groups(limit=2)] == ["a", "b"]

    def test_who_loses_most_workers_comes_first(self, store: RunStore) -> None:
        once, twice, other = (claimed(store, bid=new_bid("ann")).head for _ in range(3))
        store.bury("ann", "owner")
        claimed(store, twice, new_bid("bob"))
        store.bury("bob", "owner")
        assert store.struggling()[0].run_id == twice.run_id
        assert [head.run_id for head in store.struggling(limit=1)] == [twice.run_id]
        assert {head.run_id for head in store.struggling()} == {
            head.run_id for head in (once, twice, other)
        }

    def test_a_run_that_is_not_failed_any_more_is_in_no_group(self, store: RunStore) -> None:
        retried, gone, cancelled = (failed(store, "a").head for _ in range(3))
        store.resume(read(store, retried.run_id))
        assert [group.count for group in store.groups()] == [2]
        deleted(store, gone.run_id)
        store.intend(cancelled.run_id, cancelling("c"))
        assert store.groups() == []
        assert store.find(RunQuery(group="a")).items == ()

    def test_a_stage_that_keeps_losing_its_worker_is_shown_and_then_grouped(
        self, store: RunStore
    ) -> None:
        claim = claimed(store, bid=new_bid("ann"))
        store.bury("ann", "child")
        assert [head.run_id for head in store.struggling()] == [claim.head.run_id]
        claimed(store, claim.head, new_bid("bob"))
        store.bury("bob", "child")
        assert store.struggling() == []
        (group,) = store.groups()
        assert (group.example.failure or {})["type"] == "WorkerLost"
        assert group.group == fingerprint("orders", "first", "WorkerLost")
        other = claimed(store, bid=new_bid("ann"))
        store.bury("ann", "child")
        claimed(store, other.head, new_bid("ann"))
        store.bury("ann", "child")
        assert [group.count for group in store.groups()] == [2]

    def test_who_struggles_no_more_keeps_nobody_from_being_shown(self, store: RunStore) -> None:
        # In Redis they are asked for shard by shard, so here all are in one.
        names = (f"r{number}" for number in count())
        shard = prefix_of("r0")
        ids = [*islice((name for name in names if prefix_of(name) == shard), 6)]
        *better, last = (created(store, new_head(run_id)) for run_id in ids)
        for head in better:
            for owner in ("ann", "bob"):
                claimed(store, head, new_bid(owner))
                store.bury(owner, "owner")
        claimed(store, last, new_bid("ann"))
        store.bury("ann", "owner")
        committed, failed, gone, elsewhere, stopped = better
        assert (
            store.advance(claim := claimed(store, committed), commit_of(claim)) is Advance.ADVANCED
        )
        assert store.fail(claimed(store, failed), "{}", None)
        store.pause(gone.run_id)
        deleted(store, gone.run_id)
        for head, intent, stage in (
            (elsewhere, redirecting(read(store, elsewhere.run_id)), "first"),
            (stopped, cancelling("c1"), None),
        ):
            assert store.intend(head.run_id, intent)[0]
            intended = read(store, head.run_id)
            status = RunStatus.QUEUED if stage else RunStatus.CANCELLED
            assert store.settle(intended, landing(intended, status, stage))
        assert store.struggling(limit=1) == [read(store, last.run_id)]
        assert store.struggling() == [read(store, last.run_id)]

    def test_who_got_on_struggles_no_more(self, store: RunStore) -> None:
        claim = claimed(store, bid=new_bid("ann"))
        store.bury("ann", "owner")
        claim = claimed(store, claim.head)
        assert len(store.struggling()) == 1
        store.advance(claim, commit_of(claim))
        assert store.struggling() == []
        assert store.struggling() == []
