"""Stages that kill their workers: counting crashes, suspicion and trial."""

from __future__ import annotations

from ..head import Head, RunStatus
from ..runs.base import Claim, Refusal, RunStore
from .case import (
    RunStoreCase,
    claimed,
    commit_of,
    created,
    new_bid,
    new_head,
    read,
    same_shard,
)


class Suspects(RunStoreCase):
    """What `bury` counts; the stores of the suite set a run aside after two."""

    def test_a_child_that_died_counts_until_the_run_is_set_aside(self, store: RunStore) -> None:
        head = created(store)
        claimed(store, head, new_bid("ann"))
        store.bury("ann", "child")
        once = read(store, head.run_id)
        assert (once.status, once.crashes, once.suspicions) == (RunStatus.QUEUED, 1, 0)
        assert once.last_cause == "child"
        claimed(store, head, new_bid("bob"))
        store.bury("bob", "child")
        twice = read(store, head.run_id)
        assert (twice.status, twice.crashes) == (RunStatus.FAILED, 2)
        assert twice.failure is not None
        assert (twice.failure["type"], twice.failure["stage"]) == ("WorkerLost", "first")
        assert twice.finished_at > 0

    def test_an_owner_that_fell_silent_makes_its_runs_suspects(self, store: RunStore) -> None:
        head = created(store)
        self._suspect(store, head)
        now = read(store, head.run_id)
        assert (now.status, now.crashes, now.suspicions) == (RunStatus.QUEUED, 0, 2)
        assert now.trial == 1

    def test_a_suspect_that_dies_on_trial_is_set_aside(self, store: RunStore) -> None:
        head = created(store)
        self._suspect(store, head)
        claimed(store, head, new_bid("last"))
        store.bury("last", "owner")
        now = read(store, head.run_id)
        assert now.status is RunStatus.FAILED
        assert now.failure is not None
        assert now.failure["type"] == "WorkerLost"

    def test_a_suspect_that_gets_through_is_cleared(self, store: RunStore) -> None:
        head = created(store)
        self._suspect(store, head)
        claim = claimed(store, head)
        store.advance(claim, commit_of(claim))
        now = read(store, head.run_id)
        assert (now.trial, now.suspicions, now.crashes) == (0, 0, 0)

    def test_suspects_of_a_shard_are_tried_one_at_a_time(self, store: RunStore) -> None:
        one, two = (created(store, new_head(run_id)) for run_id in same_shard(2))
        self._suspect(store, one)
        self._suspect(store, two)
        trial = claimed(store, one)
        assert store.claim(two.step, new_bid("bob")) is Refusal.EARLY
        assert read(store, two.run_id).status is RunStatus.QUEUED
        store.advance(trial, commit_of(trial))
        claimed(store, one)
        assert isinstance(store.claim(two.step, new_bid("bob")), Claim)

    def test_a_death_on_trial_lets_the_next_suspect_in(self, store: RunStore) -> None:
        one, two = (created(store, new_head(run_id)) for run_id in same_shard(2))
        self._suspect(store, one)
        self._suspect(store, two)
        claimed(store, one, new_bid("ann"))
        store.bury("ann", "owner")
        assert isinstance(store.claim(two.step, new_bid("bob")), Claim)

    def test_a_run_that_is_no_suspect_passes_by_a_trial(self, store: RunStore) -> None:
        one, two = (created(store, new_head(run_id)) for run_id in same_shard(2))
        self._suspect(store, one)
        claimed(store, one)
        claimed(store, two)

    def test_a_claim_that_makes_a_suspect_respects_the_trial(self, brisk: RunStore) -> None:
        one, two = (created(brisk, new_head(run_id)) for run_id in same_shard(2))
        self._suspect(brisk, one)
        claimed(brisk, two, new_bid("early"))
        brisk.bury("early", "owner")
        trial_bid, bid = new_bid("judge"), new_bid("bob")
        claimed(brisk, one, trial_bid)
        claimed(brisk, two, new_bid("silent"))

        def answer() -> Refusal | None:
            brisk.beat("judge", {trial_bid.nonce}, trial_bid.ordinal, leaving=False)
            refusal = brisk.claim(two.step, bid)
            assert isinstance(refusal, Refusal), "two suspects on trial at once"
            return refusal if refusal is not Refusal.DUPLICATE else None

        assert self.eventually(answer) is Refusal.EARLY
        assert read(brisk, two.run_id).trial == 1

    def _suspect(self, store: RunStore, head: Head) -> None:
        for number in range(2):
            claimed(store, head, new_bid(f"silent-{number}"))
            assert head.run_id in store.bury(f"silent-{number}", "owner")
