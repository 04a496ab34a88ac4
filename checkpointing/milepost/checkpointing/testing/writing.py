"""A record is written once, whole, by one writer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from typing import ClassVar

import pytest

from ..errors import AlreadyExists, NotFound
from ..models import CheckpointKey, Kind, Record
from ..stores import CheckpointStore
from .records import make_record

_WRITERS = 8


class WritingContract:
    """`put` and `get`."""

    atomic_create: ClassVar[bool] = True
    """Whether of several writers at once exactly one wins."""

    def test_what_was_put_is_got_back(self, store: CheckpointStore) -> None:
        record = make_record("run")
        store.put(record)
        assert store.get(record.key) == record

    def test_an_absent_record_is_not_found(self, store: CheckpointStore) -> None:
        store.put(make_record("run", 1))
        for key in (CheckpointKey("run", 2), CheckpointKey("other", 1)):
            with pytest.raises(NotFound) as caught:
                store.get(key)
            assert caught.value.key == key
            assert caught.value.run_id == key.run_id

    def test_the_same_record_again_is_no_error(self, store: CheckpointStore) -> None:
        record = make_record("run")
        for _ in range(3):
            store.put(record)
        assert store.get(record.key) == record
        assert len(store.history("run").items) == 1

    @pytest.mark.parametrize(
        "other", [make_record("run", note="another"), make_record("run", body=b"1\n[]\n[]\n{}")]
    )
    def test_another_record_is_refused_and_the_first_stays(
        self, store: CheckpointStore, other: Record
    ) -> None:
        first = make_record("run")
        store.put(first)
        with pytest.raises(AlreadyExists) as caught:
            store.put(other)
        assert caught.value.key == first.key
        assert store.get(first.key) == first
        assert store.latest("run") == first

    def test_keys_that_differ_in_one_part_do_not_meet(self, store: CheckpointStore) -> None:
        records = [
            make_record("run"),
            make_record("run", 1),
            make_record("run", timeline=1),
            make_record("run", kind=Kind.MANUAL),
            make_record("run", lane="other"),
            make_record("run-2"),
        ]
        for record in records:
            store.put(record)
        assert [store.get(record.key) for record in records] == records

    def test_the_largest_numbers_fit(self, store: CheckpointStore) -> None:
        top = (1 << 32) - 1
        record = make_record("run", top, timeline=top)
        store.put(make_record("run", top - 1, timeline=top))
        store.put(record)
        assert store.latest("run") == record

    def test_a_long_run_id_fits(self, store: CheckpointStore) -> None:
        record = make_record("r" * 128)
        store.put(record)
        assert store.latest("r" * 128) == record

    def test_five_megabytes_of_any_bytes_come_back(self, store: CheckpointStore) -> None:
        body = bytes(range(256)) + b"\r\n\0\xff" + Random(7).randbytes(5_000_000)
        record = make_record("run", body=body)
        store.put(record)
        assert store.get(record.key) == record
        assert store.history("run").items[0].body_bytes == len(body)

    def test_an_empty_body_comes_back(self, store: CheckpointStore) -> None:
        record = make_record("run", body=b"")
        store.put(record)
        assert store.get(record.key) == record

    def test_a_long_header_comes_back(self, store: CheckpointStore) -> None:
        record = make_record("run", note="long " * 2000)
        store.put(record)
        assert store.get(record.key) == record
        assert store.history("run").items[0].header == record.header

    def test_of_eight_writers_at_once_one_wins(self, store: CheckpointStore) -> None:
        if not self.atomic_create:
            pytest.skip("atomic_create is declared False: this server has no lock")
        for sequence in range(3):
            records = [make_record("run", sequence, note=str(n)) for n in range(_WRITERS)]
            start = Barrier(_WRITERS)

            def write(record: Record, start: Barrier = start) -> bool:
                start.wait()
                try:
                    store.put(record)
                except AlreadyExists:
                    return False
                return True

            with ThreadPoolExecutor(_WRITERS) as pool:
                won = [*pool.map(write, records)]
            assert won.count(True) == 1
            assert store.get(records[0].key) == records[won.index(True)]
