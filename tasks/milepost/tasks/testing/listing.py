"""Listing runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from milepost.checkpointing import Misconfigured

from ..head import RunStatus
from ..query import RunQuery
from ..runs.base import RunStore
from .case import RunStoreCase, claimed, commit_of, created, deleted, new_head


class Listing(RunStoreCase):
    """`find`."""

    def test_runs_are_listed_youngest_first(self, store: RunStore) -> None:
        heads = [created(store) for _ in range(5)]
        page = store.find()
        assert page.items == tuple(reversed(heads))
        assert page.cursor is None

    def test_the_oldest_of_a_status(self, store: RunStore) -> None:
        first, _, third, fourth = created(store), claimed(store), created(store), created(store)
        assert store.oldest(RunStatus.QUEUED) == [first, third, fourth]
        assert store.oldest(RunStatus.QUEUED, limit=2) == [first, third]
        assert store.oldest(RunStatus.PAUSED) == []

    def test_pages_show_each_run_once(self, store: RunStore) -> None:
        ids = [created(store).run_id for _ in range(23)]
        for size in (1, 7, 23):
            seen, cursor = list[str](), None
            while True:
                page = store.find(cursor=cursor, limit=size)
                assert len(page.items) <= size
                seen += [head.run_id for head in page.items]
                cursor = page.cursor
                if cursor is None:
                    break
            assert seen == ids[::-1]

    def test_pages_of_a_narrow_listing_are_full(self, store: RunStore) -> None:
        wanted = []
        for number in range(24):
            name = "rare" if number % 4 == 0 else "common"
            head = created(store, new_head(pipeline=name, tags=("all",)))
            if name == "rare":
                wanted.append(head.run_id)
        first = store.find(RunQuery(tag="all", pipeline="rare"), limit=4)
        assert [head.run_id for head in first.items] == wanted[:1:-1]
        rest = store.find(RunQuery(tag="all", pipeline="rare"), limit=4, cursor=first.cursor)
        assert [head.run_id for head in rest.items] == wanted[1::-1]
        assert rest.cursor is None

    def test_a_run_is_found_under_the_status_it_has(self, store: RunStore) -> None:
        waiting, claim, other = created(store), claimed(store), claimed(store)
        store.advance(other, commit_of(other, None))
        for status, run_id in (
            (RunStatus.QUEUED, waiting.run_id),
            (RunStatus.RUNNING, claim.head.run_id),
            (RunStatus.COMPLETED, other.head.run_id),
        ):
            assert [head.run_id for head in store.find(RunQuery.of(status)).items] == [run_id]
        assert store.find(RunQuery.of(RunStatus.FAILED)).items == ()

    def test_all_conditions_must_hold(self, store: RunStore) -> None:
        one = created(store, new_head(pipeline="orders", tags=("eu", "night")))
        two = created(store, new_head(pipeline="orders", tags=("us",)))
        three = created(store, new_head(pipeline="bills", tags=("eu",)))
        assert store.find(RunQuery(pipeline="orders")).items == (two, one)
        assert store.find(RunQuery(tag="eu")).items == (three, one)
        assert store.find(RunQuery(tag="eu", pipeline="orders")).items == (one,)
        assert store.find(RunQuery.of(RunStatus.QUEUED, pipeline="orders")).items == (two, one)
        assert store.find(RunQuery.of(RunStatus.RUNNING, tag="eu")).items == ()
        assert (
            store.find(RunQuery(pipeline="none")).items
            == store.find(RunQuery(tag="none")).items
            == ()
        )

    def test_since_names_the_oldest_to_show(self, store: RunStore) -> None:
        old = created(store)
        since = old.created_at // 1000 + 1

        def young() -> bool:
            return created(store).created_at >= since * 1000

        self.eventually(young)
        found = store.find(RunQuery(since_ms=since))
        assert found.items
        assert old not in found.items
        assert old in store.find(RunQuery(since_ms=since - 1), limit=10_000).items

    def test_until_names_the_first_not_to_show(self, store: RunStore) -> None:
        old = created(store)
        until = old.created_at // 1000 + 1
        self.eventually(lambda: created(store).created_at >= until * 1000)
        assert old in store.find(RunQuery(until_ms=until)).items
        assert all(h.created_at < until * 1000 for h in store.find(RunQuery(until_ms=until)).items)
        assert store.find(RunQuery(until_ms=until - 1_000_000)).items == ()

    def test_runs_are_found_in_any_of_several_statuses(self, store: RunStore) -> None:
        waiting, claim = created(store), claimed(store)
        store.pause(created(store).run_id)
        found = store.find(RunQuery.of(RunStatus.QUEUED, RunStatus.RUNNING)).items
        assert [head.run_id for head in found] == [claim.head.run_id, waiting.run_id]

    def test_runs_are_found_by_stage_and_tenant(self, store: RunStore) -> None:
        claim = claimed(store)
        store.advance(claim, commit_of(claim))
        mine = created(store, replace(new_head(), tenant="acme"))
        created(store, replace(new_head(), tenant="other"))
        second = store.find(RunQuery(stage="second")).items
        assert [head.run_id for head in second] == [claim.head.run_id]
        assert store.find(RunQuery(tenant="acme")).items == (mine,)
        assert store.find(RunQuery(tenant="acme", stage="second")).items == ()

    def test_a_deleted_run_is_in_no_listing(self, store: RunStore) -> None:
        head = created(store, replace(new_head(tags=("eu",)), tenant="acme"))
        store.pause(head.run_id)
        deleted(store, head.run_id)
        for query in (
            RunQuery(),
            RunQuery(tag="eu"),
            RunQuery(tenant="acme"),
            RunQuery(pipeline="orders"),
        ):
            assert store.find(query).items == ()
        assert store.counts() == {}

    @pytest.mark.parametrize("cursor", ["", "x", "1", "x.y", "1e9.run", "-1.run", "9" * 30 + ".r"])
    def test_a_forged_cursor_is_refused(self, store: RunStore, cursor: str) -> None:
        created(store)
        with pytest.raises(Misconfigured, match="cursor"):
            store.find(cursor=cursor)

    def test_runs_are_counted_by_pipeline_and_status(self, store: RunStore) -> None:
        created(store)
        claimed(store, created(store, new_head(pipeline="bills")))
        for _ in range(2):
            claim = claimed(store)
            store.advance(claim, commit_of(claim, None))
        assert store.counts() == {
            ("orders", RunStatus.QUEUED): 1,
            ("orders", RunStatus.COMPLETED): 2,
            ("bills", RunStatus.RUNNING): 1,
        }

    def test_the_time_is_told_at_which_the_first_run_is_due(self, store: RunStore) -> None:
        assert store.oldest_due() is None
        created(store, delay_ms=90_000)
        created(store, delay_ms=60_000)
        due = store.oldest_due()
        assert due is not None
        assert 50_000 < due - store.now() <= 60_000
