"""Who gets a claim, and why not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from ..head import RunStatus, Step
from ..runs.base import Bid, Claim, Next, Refusal, RunStore
from .case import RunStoreCase, cancelling, claimed, commit_of, created, new_bid, read


class Claiming(RunStoreCase):
    """`claim`."""

    def test_a_claim_makes_the_run_its_owners(self, store: RunStore) -> None:
        bid = new_bid("ann", "ann@host")
        claim = claimed(store, bid=bid)
        head = read(store, claim.head.run_id)
        assert head == claim.head
        assert (head.status, head.owner, head.nonce) == (RunStatus.RUNNING, "ann", bid.nonce)
        assert (head.worker, head.attempt, claim.token) == ("ann@host", 1, 1)
        assert head.claimed_at > 0
        assert head.deadline == 0

    def test_a_living_owners_run_is_not_given_away(self, store: RunStore) -> None:
        claim = claimed(store, bid=new_bid("ann"))
        for owner in ("bob", "ann"):
            assert store.claim(claim.head.step, new_bid(owner)) is Refusal.DUPLICATE
        assert read(store, claim.head.run_id) == claim.head

    def test_the_same_bid_gets_the_same_claim(self, store: RunStore) -> None:
        bid = new_bid()
        claim = claimed(store, bid=bid)
        assert store.claim(claim.head.step, bid) == claim
        assert read(store, claim.head.run_id).attempt == 1

    def test_an_unknown_run_is_refused(self, store: RunStore) -> None:
        assert store.claim(Step("nobody", 0, "first"), new_bid()) is Refusal.UNKNOWN

    def test_a_step_that_was_done_is_stale(self, store: RunStore) -> None:
        claim = claimed(store)
        store.advance(claim, commit_of(claim))
        assert store.claim(claim.head.step, new_bid()) is Refusal.STALE

    @pytest.mark.parametrize("change", [{"stage": "other"}, {"lane": "other"}])
    def test_a_step_must_match_in_every_part(self, store: RunStore, change: dict[str, str]) -> None:
        step = replace(created(store).step, stage=change.get("stage", "first"))
        step = replace(step, lane=change.get("lane", "main"))
        assert store.claim(step, new_bid()) is Refusal.STALE

    @pytest.mark.parametrize(("timeline", "sequence"), [(0, 1), (1, 0)])
    def test_a_step_that_is_not_there_yet_is_ahead(
        self, store: RunStore, timeline: int, sequence: int
    ) -> None:
        step = replace(created(store).step, timeline=timeline, sequence=sequence)
        assert store.claim(step, new_bid()) is Refusal.AHEAD

    def test_a_scheduled_step_is_early(self, store: RunStore) -> None:
        head = created(store, delay_ms=60_000)
        assert store.claim(head.step, new_bid()) is Refusal.EARLY

    def test_a_paused_run_is_refused(self, store: RunStore) -> None:
        head = created(store)
        store.pause(head.run_id)
        assert store.claim(head.step, new_bid()) is Refusal.PAUSED

    def test_a_run_being_cancelled_is_refused(self, store: RunStore) -> None:
        head = created(store)
        store.intend(head.run_id, cancelling("c"))
        assert store.claim(head.step, new_bid()) is Refusal.PAUSED

    def test_a_run_that_ended_is_refused(self, store: RunStore) -> None:
        claim = claimed(store)
        store.advance(claim, commit_of(claim, None))
        assert store.claim(claim.head.step, new_bid()) is Refusal.FINISHED
        failed = claimed(store)
        store.fail(failed, "{}", None)
        assert store.claim(failed.head.step, new_bid()) is Refusal.FINISHED

    def test_a_lapsed_owner_keeps_its_claim_until_somebody_looks(self, brisk: RunStore) -> None:
        old = claimed(brisk, bid=new_bid("ann"))
        clock = created(brisk)

        def lapsed() -> bool:
            brisk.requeue(clock, push=None, published=False, patience_ms=60_000)
            return read(brisk, clock.run_id).updated_at > old.head.claimed_at + 2_000

        self.eventually(lapsed)
        assert brisk.claim(old.head.step, new_bid("bob")) is Refusal.DUPLICATE
        self.looked_at(brisk, old.head.run_id)
        new = claimed(brisk, old.head, new_bid("bob"))
        assert new.token > old.token
        assert (new.head.owner, new.head.suspicions) == ("bob", 1)
        assert not brisk.fail(old, "{}", None)

    def test_a_deadline_counts_from_the_claim(self, store: RunStore) -> None:
        head = created(store)
        first = claimed(store, head)
        following = Next("second", "celery", time_limit_ms=4000)
        store.advance(first, replace(commit_of(first), following=following))
        second = claimed(store, head)
        assert second.head.deadline == second.head.claimed_at + 4000

    def test_the_token_never_falls(self, store: RunStore) -> None:
        head = created(store)
        tokens = []
        for _ in range(3):
            claim = claimed(store, head)
            tokens.append(claim.token)
            store.hand_back(claim, None)
        claim = claimed(store, head)
        tokens.append(claim.token)
        store.fail(claim, "{}", None)
        store.resume(read(store, head.run_id))
        tokens.append(claimed(store, head).token)
        store.intend(head.run_id, cancelling("c"))
        tokens.append(read(store, head.run_id).token)
        assert tokens == sorted(set(tokens))

    def test_of_eight_that_claim_at_once_one_wins(self, store: RunStore) -> None:
        step = created(store).step
        barrier = Barrier(8)

        def race(bid: Bid) -> Claim | Refusal:
            barrier.wait(30)
            return store.claim(step, bid)

        with ThreadPoolExecutor(8) as pool:
            bids = [new_bid(f"owner-{number}") for number in range(8)]
            answers = list(pool.map(race, bids))
        assert sum(isinstance(answer, Claim) for answer in answers) == 1
        assert answers.count(Refusal.DUPLICATE) == 7
        assert read(store, step.run_id).attempt == 1
