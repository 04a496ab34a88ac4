"""The last record is the one with the highest timeline, then the highest sequence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ..models import Kind
from ..stores import CheckpointStore
from .records import make_record


class LatestContract:
    """`latest`."""

    def test_a_run_without_records_has_none(self, store: CheckpointStore) -> None:
        assert store.latest("run") is None

    def test_the_highest_sequence_is_last_in_any_order_of_writing(
        self, store: CheckpointStore
    ) -> None:
        for sequence in (9, 256, 0, 15, 255, 16, 10, 1):
            store.put(make_record("run", sequence))
        assert store.latest("run") == make_record("run", 256)

    def test_timelines_beat_sequences(self, store: CheckpointStore) -> None:
        for timeline, sequence in ((1, 3), (0, 900), (1, 2), (0, 901)):
            store.put(make_record("run", sequence, timeline=timeline))
        assert store.latest("run") == make_record("run", 3, timeline=1)

    def test_a_later_timeline_is_last_from_its_first_record_on(
        self, store: CheckpointStore
    ) -> None:
        for sequence in range(3):
            store.put(make_record("run", sequence))
        store.put(make_record("run", 1, timeline=17))
        assert store.latest("run") == make_record("run", 1, timeline=17)

    def test_kinds_do_not_mix(self, store: CheckpointStore) -> None:
        store.put(make_record("run", 1))
        store.put(make_record("run", 5, kind=Kind.MANUAL))
        assert store.latest("run") == make_record("run", 1)
        assert store.latest("run", Kind.MANUAL) == make_record("run", 5, kind=Kind.MANUAL)

    def test_the_first_kind_that_has_a_record_wins(self, store: CheckpointStore) -> None:
        both = (Kind.COMMIT, Kind.MANUAL)
        assert store.latest_of("run", both) is None
        store.put(make_record("run", 9, kind=Kind.JOURNAL, lane="pay"))
        store.put(make_record("run", 9, lane="side"))
        assert store.latest_of("run", both) is None
        store.put(make_record("run", 5, kind=Kind.MANUAL))
        store.put(make_record("run", 7, kind=Kind.MANUAL))
        assert store.latest_of("run", both) == make_record("run", 7, kind=Kind.MANUAL)
        store.put(make_record("run", 1))
        assert store.latest_of("run", both) == make_record("run", 1)
        assert store.latest_of("run", both[::-1]) == make_record("run", 7, kind=Kind.MANUAL)
        store.expire_run("run", datetime.now(UTC) + timedelta(hours=1))
        assert store.latest_of("run", both) == make_record("run", 1)
        store.expire_run("run", datetime.now(UTC) - timedelta(seconds=1))
        assert store.latest_of("run", both) is None

    def test_lanes_do_not_mix(self, store: CheckpointStore) -> None:
        store.put(make_record("run", 1))
        for lane, sequence in (("main-2", 7), ("main.2", 8), ("mai", 9)):
            store.put(make_record("run", sequence, lane=lane))
        assert store.latest("run") == make_record("run", 1)
        assert store.latest("run", lane="main-2") == make_record("run", 7, lane="main-2")
        assert store.latest("run", lane="main-") is None

    def test_runs_do_not_mix(self, store: CheckpointStore) -> None:
        for run_id, sequence in (("run", 1), ("run-1", 2), ("run.b", 3), ("ru", 4), ("runs", 5)):
            store.put(make_record(run_id, sequence))
        assert store.latest("run") == make_record("run", 1)
        assert store.latest("ru") == make_record("ru", 4)
        assert store.latest("r") is None
