"""Tries that failed, and claims that were given back."""

from __future__ import annotations

from ..head import RunStatus
from ..runs.base import RunStore
from .case import RunStoreCase, claimed, new_bid, new_push, read

ERROR = '{"type": "ValueError", "message": "no", "stage": "first", "traceback": ""}'


class Failing(RunStoreCase):
    """`fail` and `hand_back`."""

    def test_a_failed_try_is_scheduled_and_then_queued(self, store: RunStore) -> None:
        claim = claimed(store)
        assert store.fail(claim, ERROR, 300)
        head = read(store, claim.head.run_id)
        assert (head.status, head.failures, head.error) == (RunStatus.SCHEDULED, 1, ERROR)
        assert (head.owner, head.nonce, head.published_at) == ("", "", 0)
        assert store.look().heads == ()
        seen = self.looked_at(store, head.run_id)
        assert (seen.status, seen.published_at) == (RunStatus.QUEUED, 0)
        assert claimed(store, head).head.attempt == 2

    def test_the_last_failed_try_sets_the_run_aside(self, store: RunStore) -> None:
        claim = claimed(store)
        assert store.fail(claim, ERROR, None)
        head = read(store, claim.head.run_id)
        assert (head.status, head.stage) == (RunStatus.FAILED, "first")
        assert head.failure is not None
        assert head.failure["type"] == "ValueError"
        assert head.finished_at > 0
        assert store.look().heads == ()

    def test_failing_again_changes_nothing(self, store: RunStore) -> None:
        claim = claimed(store)
        assert store.fail(claim, ERROR, 60_000)
        stands = read(store, claim.head.run_id)
        assert store.fail(claim, ERROR, 60_000)
        assert read(store, claim.head.run_id) == stands

    def test_who_failed_was_not_lost(self, store: RunStore) -> None:
        first = claimed(store, bid=new_bid("ann"))
        store.bury("ann", "owner")
        again = claimed(store, read(store, first.head.run_id))
        assert again.head.recovered_from == "owner"
        assert store.fail(again, ERROR, 0)
        seen = self.looked_at(store, first.head.run_id)
        assert claimed(store, seen).head.recovered_from == ""

    def test_a_claim_that_was_taken_away_cannot_fail_the_run(self, store: RunStore) -> None:
        claim = claimed(store, bid=new_bid("ann"))
        store.bury("ann", "owner")
        assert not store.fail(claim, ERROR, None)
        assert not store.hand_back(claim, new_push("late"))
        head = read(store, claim.head.run_id)
        assert (head.status, head.failures, head.error) == (RunStatus.QUEUED, 0, "")
        assert self.messages(store) == []

    def test_handing_back_enqueues_and_counts_nothing(self, store: RunStore) -> None:
        claim = claimed(store)
        assert store.hand_back(claim, new_push("again"))
        stands = read(store, claim.head.run_id)
        assert (stands.status, stands.owner, stands.nonce) == (RunStatus.QUEUED, "", "")
        assert (stands.failures, stands.crashes, stands.suspicions) == (0, 0, 0)
        assert stands.published_at > 0
        assert store.hand_back(claim, new_push("again"))
        assert read(store, claim.head.run_id) == stands
        assert self.messages(store) == ["again"]
        assert claimed(store, claim.head).token > claim.token
