"""Heartbeats, and what becomes of the runs of owners that are gone."""

from __future__ import annotations

from ..head import RunStatus
from ..runs.base import RunStore
from .case import RunStoreCase, cancelling, claimed, new_bid, read


class Owners(RunStoreCase):
    """`beat` and `bury`."""

    def test_a_beat_keeps_what_it_names(self, store: RunStore) -> None:
        bid = new_bid("ann")
        claim = claimed(store, bid=bid)
        assert store.beat("ann", {bid.nonce}, bid.ordinal, leaving=False) == set()
        assert read(store, claim.head.run_id) == claim.head

    def test_a_beat_frees_what_it_does_not_name(self, store: RunStore) -> None:
        bid = new_bid("ann")
        claim = claimed(store, bid=bid)
        assert store.beat("ann", (), bid.ordinal, leaving=False) == set()
        head = read(store, claim.head.run_id)
        assert (head.status, head.owner, head.published_at) == (RunStatus.QUEUED, "", 0)
        assert (head.crashes, head.suspicions) == (0, 0)
        assert self.looked_at(store, head.run_id).status is RunStatus.QUEUED

    def test_a_beat_spares_claims_younger_than_it(self, store: RunStore) -> None:
        bid = new_bid("ann")
        claim = claimed(store, bid=bid)
        store.beat("ann", (), bid.ordinal - 1, leaving=False)
        assert read(store, claim.head.run_id) == claim.head

    def test_a_beat_leaves_other_owners_alone(self, store: RunStore) -> None:
        bid = new_bid("ann")
        claim = claimed(store, bid=bid)
        store.beat("bob", (), bid.ordinal, leaving=False)
        assert read(store, claim.head.run_id) == claim.head

    def test_a_beat_tells_what_was_lost(self, store: RunStore) -> None:
        lost, kept = new_bid("ann"), new_bid("ann")
        claim = claimed(store, bid=lost)
        claimed(store, bid=kept)
        store.intend(claim.head.run_id, cancelling("c"))
        held = {lost.nonce, kept.nonce}
        assert store.beat("ann", held, kept.ordinal, leaving=False) == {lost.nonce}

    def test_an_owner_that_beats_does_not_lapse(self, brisk: RunStore) -> None:
        ann, bob = new_bid("ann"), new_bid("bob")
        alive, lapsing = claimed(brisk, bid=ann), claimed(brisk, bid=bob)

        def bob_is_gone() -> bool:
            brisk.beat("ann", {ann.nonce}, ann.ordinal, leaving=False)
            brisk.look()
            return read(brisk, lapsing.head.run_id).status is RunStatus.QUEUED

        self.eventually(bob_is_gone)
        assert read(brisk, lapsing.head.run_id).suspicions == 1
        assert read(brisk, alive.head.run_id) == alive.head
        assert brisk.beat("bob", {bob.nonce}, bob.ordinal, leaving=False) == {bob.nonce}

    def test_burying_frees_all_the_owner_held(self, store: RunStore) -> None:
        held = {claimed(store, bid=new_bid("ann")).head.run_id for _ in range(5)}
        other = claimed(store, bid=new_bid("bob"))
        assert set(store.bury("ann", "owner")) == held
        assert {read(store, run_id).status for run_id in held} == {RunStatus.QUEUED}
        assert read(store, other.head.run_id) == other.head
        assert store.bury("ann", "owner") == []

    def test_burying_spares_what_others_hold_by_now(self, store: RunStore) -> None:
        old = claimed(store, bid=new_bid("ann"))
        store.hand_back(old, None)
        new = claimed(store, old.head, new_bid("bob"))
        assert store.bury("ann", "child") == []
        assert read(store, old.head.run_id) == new.head

    def test_who_leaves_is_no_evidence(self, store: RunStore) -> None:
        bid = new_bid("ann")
        head = claimed(store, bid=bid).head
        assert store.bury("ann", "leaving") == [head.run_id]
        again = new_bid("ann")
        claimed(store, head, again)
        store.beat("ann", {again.nonce}, again.ordinal, leaving=True)
        assert store.bury("ann", "child") == [head.run_id]
        now = read(store, head.run_id)
        assert (now.status, now.crashes, now.suspicions) == (RunStatus.QUEUED, 0, 0)
        assert now.last_cause == "leaving"
