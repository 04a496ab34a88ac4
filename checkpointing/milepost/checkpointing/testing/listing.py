"""Listings show everything once, in order, in pages."""

from __future__ import annotations

from ..models import CheckpointKey, Kind
from ..stores import CheckpointStore, Entry
from .records import make_record

_NAMES = ("a", "a-1", "a.b", "ab", "A", "0", "a_1", "a0", "a-1-x")


class ListingContract:
    """`history` and `runs`."""

    def test_an_absent_run_has_no_history(self, store: CheckpointStore) -> None:
        page = store.history("run")
        assert page.items == ()
        assert page.cursor is None

    def test_history_shows_the_last_record_first(self, store: CheckpointStore) -> None:
        for timeline, sequence in ((0, 2), (1, 1), (0, 0), (0, 16), (1, 2), (0, 1)):
            store.put(make_record("run", sequence, timeline=timeline))
        shown = [(e.key.timeline, e.key.sequence) for e in store.history("run").items]
        assert shown == [(1, 2), (1, 1), (0, 16), (0, 2), (0, 1), (0, 0)]

    def test_history_shows_headers_and_sizes(self, store: CheckpointStore) -> None:
        record = make_record("run", 4, timeline=2, body=b"x" * 77)
        store.put(record)
        assert store.history("run").items == (Entry(record.key, record.header, 77),)

    def test_history_keeps_to_its_series(self, store: CheckpointStore) -> None:
        store.put(make_record("run", 1))
        store.put(make_record("run", 2, kind=Kind.MANUAL))
        store.put(make_record("run", 3, lane="main-2"))
        store.put(make_record("run-2", 4))
        assert [entry.key.sequence for entry in store.history("run").items] == [1]
        assert [e.key.sequence for e in store.history("run", Kind.MANUAL).items] == [2]
        assert [e.key.sequence for e in store.history("run", lane="main-2").items] == [3]

    def test_pages_of_history_show_each_record_once(self, store: CheckpointStore) -> None:
        keys = [CheckpointKey("run", n % 4, timeline=n // 4) for n in range(7)]
        for key in keys:
            store.put(make_record("run", key.sequence, timeline=key.timeline))
        for limit in (1, 2, 3, 6, 7, 8):
            sizes, found, cursor = [], [], None
            while True:
                page = store.history("run", cursor=cursor, limit=limit)
                sizes.append(len(page.items))
                found += [entry.key for entry in page.items]
                if (cursor := page.cursor) is None:
                    break
            assert found == keys[::-1], f"with limit {limit}"
            assert sum(sizes) == 7
            assert max(sizes) <= limit
            assert 0 not in sizes

    def test_a_page_goes_on_where_it_ended_though_records_are_added(
        self, store: CheckpointStore
    ) -> None:
        for sequence in range(4):
            store.put(make_record("run", sequence))
        first = store.history("run", limit=2)
        store.put(make_record("run", 4))
        second = store.history("run", cursor=first.cursor, limit=2)
        assert [entry.key.sequence for entry in first.items + second.items] == [3, 2, 1, 0]

    def test_a_large_limit_shows_all(self, store: CheckpointStore) -> None:
        for sequence in range(3):
            store.put(make_record("run", sequence))
        assert len(store.history("run", limit=100_000).items) == 3
        assert store.runs(limit=100_000).items == ("run",)

    def test_an_empty_store_has_no_runs(self, store: CheckpointStore) -> None:
        page = store.runs()
        assert page.items == ()
        assert page.cursor is None

    def test_runs_are_shown_by_name_in_pages(self, store: CheckpointStore) -> None:
        for name in _NAMES:
            store.put(make_record(name))
            store.put(make_record(name, kind=Kind.MANUAL))
        for limit in (1, 2, 4, len(_NAMES), 100):
            found: list[str] = []
            cursor = None
            while True:
                page = store.runs(cursor=cursor, limit=limit)
                assert len(page.items) <= limit
                found += page.items
                if (cursor := page.cursor) is None:
                    break
            assert found == sorted(_NAMES), f"with limit {limit}"
