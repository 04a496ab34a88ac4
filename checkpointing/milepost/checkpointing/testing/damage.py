"""What is not what was written is never taken for it, and hides nothing else."""

from __future__ import annotations

import pytest

from ..envelope import PREFIX
from ..errors import Corrupt
from ..models import CheckpointKey, Record
from ..serializer import Serializer
from ..stores import CheckpointStore
from .records import make_record


class DamageContract:
    """Records that are torn, or lie under another's key, as they come back."""

    def test_a_record_under_another_key_is_found_out(self, store: CheckpointStore) -> None:
        for written in (
            make_record("run"),
            make_record("other", 1),
            make_record("run", 1, lane="b"),
        ):
            key = CheckpointKey("run", 1)
            store.put(Record(key, written.header, written.body))
            with pytest.raises(Corrupt):
                Serializer().decode(store.get(key))
            last = store.latest("run")
            assert last is not None
            with pytest.raises(Corrupt):
                Serializer().decode(last)
            store.delete(key)

    def test_a_torn_record_is_never_taken_for_whole(self, store: CheckpointStore) -> None:
        whole = make_record("run", body=b"null\n[]\n[]\n{}")
        data = whole.header + whole.body
        ends = (
            0,
            1,
            4,
            PREFIX - 1,
            PREFIX,
            len(whole.header) - 1,
            len(whole.header),
            len(data) - 1,
        )
        for sequence, end in enumerate(ends):
            header = data[:end][: len(whole.header)]
            torn = Record(CheckpointKey("run", sequence), header, data[len(header) : end])
            store.put(torn)
            with pytest.raises(Corrupt):
                Serializer().decode(store.get(torn.key))

    def test_a_damaged_record_does_not_hide_others(self, store: CheckpointStore) -> None:
        damaged = CheckpointKey("run", 1)
        for sequence in (0, 2):
            store.put(make_record("run", sequence))
        store.put(Record(damaged, b"MP", b""))
        entries = store.history("run").items
        assert [entry.key.sequence for entry in entries] == [2, 1, 0]
        for entry in entries:
            if entry.key == damaged:
                with pytest.raises(Corrupt):
                    Serializer().metadata(entry.key, entry.header)
            else:
                assert Serializer().metadata(entry.key, entry.header).key == entry.key
        assert store.delete(damaged) is True
        assert [entry.key.sequence for entry in store.history("run").items] == [2, 0]
