"""Records that are named by their content, written and read together."""

from __future__ import annotations

import pytest

from ..errors import NotFound
from ..models import Kind, Record
from ..stores import CheckpointStore
from .records import make_record


def part(number: int, run_id: str = "run", size: int = 1000) -> Record:
    """Return a record that its number names."""
    body = bytes([number % 256]) * size
    return make_record(run_id, 0, kind=Kind.BLOB, lane=f"{number:032x}", body=body)


class BatchesContract:
    """`put_all` and `get_all`."""

    def test_what_was_written_is_read_in_the_order_asked_for(self, store: CheckpointStore) -> None:
        parts = [part(number) for number in range(20)]
        store.put_all(parts)
        assert store.get_all([record.key for record in reversed(parts)]) == parts[::-1]
        assert store.get(parts[7].key) == parts[7]

    def test_what_stands_is_the_same(self, store: CheckpointStore) -> None:
        """Another try may have packed it differently."""
        store.put_all([part(1), part(2)])
        other = part(2, size=500)
        store.put_all([part(1), other, part(3)])
        assert store.get_all([part(n).key for n in (1, 2, 3)]) == [part(1), part(2), part(3)]

    def test_large_batches_arrive_whole(self, store: CheckpointStore) -> None:
        parts = [part(number, size=600_000) for number in range(12)]
        store.put_all(parts)
        assert store.get_all([record.key for record in parts]) == parts

    def test_nothing_is_a_batch(self, store: CheckpointStore) -> None:
        store.put_all([])
        assert store.get_all([]) == []
        assert store.runs().items == ()

    def test_one_that_is_missing_is_said(self, store: CheckpointStore) -> None:
        store.put_all([part(1), part(1, "other")])
        with pytest.raises(NotFound):
            store.get_all([part(1).key, part(2).key])

    def test_they_go_with_the_run(self, store: CheckpointStore) -> None:
        store.put(make_record("run", 0))
        store.put_all([part(1), part(2)])
        assert store.latest("run") == make_record("run", 0)
        assert store.delete_run("run") == 3
        with pytest.raises(NotFound):
            store.get_all([part(1).key])
