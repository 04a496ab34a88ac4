"""Listing runs."""

from __future__ import annotations

from ..head import RunStatus
from ..runs.base import RunStore
from .case import RunStoreCase, claimed, commit_of, created, new_head


class Listing(RunStoreCase):
    """`find`."""

    def test_runs_are_listed_youngest_first(self, store: RunStore) -> None:
        heads = [created(store) for _ in range(5)]
        page = store.find()
        assert page.items == tuple(reversed(heads))
        assert page.cursor is None

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
        first = store.find(tag="all", pipeline="rare", limit=4)
        assert [head.run_id for head in first.items] == wanted[:1:-1]
        rest = store.find(tag="all", pipeline="rare", limit=4, cursor=first.cursor)
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
            assert [head.run_id for head in store.find(status=status).items] == [run_id]
        assert store.find(status=RunStatus.FAILED).items == ()

    def test_all_conditions_must_hold(self, store: RunStore) -> None:
        one = created(store, new_head(pipeline="orders", tags=("eu", "night")))
        two = created(store, new_head(pipeline="orders", tags=("us",)))
        three = created(store, new_head(pipeline="bills", tags=("eu",)))
        assert store.find(pipeline="orders").items == (two, one)
        assert store.find(tag="eu").items == (three, one)
        assert store.find(tag="eu", pipeline="orders").items == (one,)
        assert store.find(pipeline="orders", status=RunStatus.QUEUED).items == (two, one)
        assert store.find(tag="eu", status=RunStatus.RUNNING).items == ()
        assert store.find(pipeline="none").items == store.find(tag="none").items == ()

    def test_since_names_the_oldest_to_show(self, store: RunStore) -> None:
        old = created(store)
        since = old.created_at // 1000 + 1

        def young() -> bool:
            return created(store).created_at >= since * 1000

        self.eventually(young)
        found = store.find(since_ms=since)
        assert found.items
        assert old not in found.items
        assert old in store.find(since_ms=since - 1, limit=10_000).items
