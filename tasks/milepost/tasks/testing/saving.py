"""Progress of a stage that still runs: noted by its holder alone, kept until the commit."""

from __future__ import annotations

import pytest

from milepost.checkpointing import CheckpointKey, Kind, Record

from ..runs.base import Advance, Claim, RunStore
from .case import RunStoreCase, claimed, commit_of, created, new_bid, new_head, read


class Saving(RunStoreCase):
    """`save`."""

    def test_progress_is_noted_in_the_head(self, store: RunStore) -> None:
        claim = claimed(store)
        for done in (3, 7):
            assert store.save(claim, path=f"progress/{done}", progress=f"[{done}, 10]", record=None)
            head = read(store, claim.head.run_id)
            assert head.progress_at == f"progress/{done}"
            assert head.stage_progress == (done, 10)
        assert store.save(claim, path="progress/7", progress="[7, null]", record=None)
        assert read(store, claim.head.run_id).stage_progress == (7, None)

    def test_the_next_claim_knows_it(self, store: RunStore) -> None:
        head = created(store)
        claim = claimed(store, head, new_bid("ann"))
        store.save(claim, path="progress/1", progress="[1, 2]", record=None)
        store.bury("ann", "child")
        again = claimed(store, head, new_bid("bob"))
        assert again.head.progress_at == "progress/1"
        assert store.fail(again, "{}", None)
        assert read(store, head.run_id).progress_at == "progress/1"

    def test_who_lost_the_claim_notes_nothing(self, store: RunStore) -> None:
        head = created(store)
        old = claimed(store, head, new_bid("ann"))
        store.bury("ann", "child")
        assert not store.save(old, path="progress/1", progress="[1, 2]", record=None)
        new = claimed(store, head, new_bid("bob"))
        assert not store.save(old, path="progress/1", progress="[1, 2]", record=None)
        assert read(store, head.run_id).progress_at == ""
        assert store.save(new, path="progress/2", progress="[2, 2]", record=None)

    def test_a_commit_forgets_it(self, store: RunStore) -> None:
        claim = claimed(store)
        store.save(claim, path="progress/1", progress="[1, 2]", record=None)
        assert store.advance(claim, commit_of(claim)) is Advance.ADVANCED
        head = read(store, claim.head.run_id)
        assert (head.progress_at, head.progress, head.stage_progress) == ("", "", None)

    def test_the_record_is_written_with_it_or_not_at_all(self, store: RunStore) -> None:
        head = new_head()
        log = self.make_log(store)
        if not store.holds_log(log):
            pytest.skip("this store keeps no log")
        claim = claimed(store, created(store, head), new_bid("ann"))
        assert isinstance(claim, Claim)
        key = CheckpointKey(head.run_id, 0, claim.token, Kind.PROGRESS)
        record = Record(key, b"header", b"body")
        for _ in range(2):
            assert store.save(claim, path=key.path, progress="[1, 2]", record=record)
        assert log.get(key) == record
        store.bury("ann", "child")
        late = Record(key._replace(sequence=1), b"header", b"late")
        assert not store.save(claim, path=late.key.path, progress="[2, 2]", record=late)
        assert [entry.key for entry in log.entries(head.run_id, Kind.PROGRESS)] == [key]
