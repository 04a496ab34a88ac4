"""What was deleted is gone, and nothing else."""

from __future__ import annotations

import pytest

from ..errors import NotFound
from ..models import CheckpointKey, Kind
from ..stores import CheckpointStore
from .records import make_record


class DeletionContract:
    """`delete`, `delete_run` and `close`."""

    def test_a_deleted_record_is_gone(self, store: CheckpointStore) -> None:
        for sequence in range(3):
            store.put(make_record("run", sequence))
        assert store.delete(CheckpointKey("run", 1)) is True
        with pytest.raises(NotFound):
            store.get(CheckpointKey("run", 1))
        assert [entry.key.sequence for entry in store.history("run").items] == [2, 0]

    def test_deleting_what_is_absent_says_so(self, store: CheckpointStore) -> None:
        store.put(make_record("run", 16))
        for key in (CheckpointKey("run", 1), CheckpointKey("other", 16)):
            assert store.delete(key) is False
        store.delete(CheckpointKey("run", 16))
        assert store.delete(CheckpointKey("run", 16)) is False

    def test_what_lies_behind_another_is_deleted(self, store: CheckpointStore) -> None:
        for sequence in range(3):
            store.put(make_record("run", sequence))
        last = CheckpointKey("run", 2)
        assert store.delete_behind(CheckpointKey("run", 1), last) is True
        assert store.delete_behind(CheckpointKey("run", 1), last) is False
        assert [entry.key.sequence for entry in store.history("run").items] == [2, 0]

    def test_without_the_last_record_the_one_before_is_last(self, store: CheckpointStore) -> None:
        for sequence in range(2):
            store.put(make_record("run", sequence))
        store.delete(CheckpointKey("run", 1))
        assert store.latest("run") == make_record("run", 0)

    def test_a_run_without_records_is_no_longer_listed(self, store: CheckpointStore) -> None:
        store.put(make_record("run"))
        store.put(make_record("run", kind=Kind.MANUAL))
        store.delete(CheckpointKey("run", 0))
        assert store.runs().items == ("run",)
        store.delete(CheckpointKey("run", 0, kind=Kind.MANUAL))
        assert store.runs().items == ()

    def test_a_deleted_number_is_free(self, store: CheckpointStore) -> None:
        store.put(make_record("run"))
        store.delete(CheckpointKey("run", 0))
        store.put(make_record("run", note="new"))
        assert store.latest("run") == make_record("run", note="new")
        assert store.runs().items == ("run",)

    def test_a_deleted_run_is_gone_in_all_its_series(self, store: CheckpointStore) -> None:
        records = [make_record("run", n, timeline=n) for n in range(3)]
        records += [make_record("run", kind=Kind.MANUAL), make_record("run", lane="other")]
        for record in records:
            store.put(record)
        assert store.delete_run("run") == 5
        for record in records:
            with pytest.raises(NotFound):
                store.get(record.key)
        assert store.runs().items == ()
        assert store.delete_run("run") == 0

    def test_deleting_a_run_leaves_its_neighbours(self, store: CheckpointStore) -> None:
        names = ("ru", "run", "run-1", "run.b", "runs")
        for name in names:
            store.put(make_record(name))
        store.delete_run("run")
        assert store.runs().items == ("ru", "run-1", "run.b", "runs")
        for name in store.runs().items:
            assert store.latest(name) == make_record(name)

    def test_closing_twice_is_harmless(self, store: CheckpointStore) -> None:
        store.put(make_record("run"))
        store.close()
        store.close()
