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
    read,
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

    def test_a_host_tries_one_suspect_at_a_time(self, store: RunStore) -> None:
        one, two = self._suspects(store, 2)
        trial = claimed(store, one, new_bid("ann", "host:1"))
        assert store.claim(two.step, new_bid("bob", "host:2")) is Refusal.EARLY
        assert read(store, two.run_id).status is RunStatus.QUEUED
        store.advance(trial, commit_of(trial))
        claimed(store, one, new_bid("ann", "host:1"))
        assert isinstance(store.claim(two.step, new_bid("bob", "host:2")), Claim)

    def test_another_host_tries_another_suspect(self, store: RunStore) -> None:
        one, two = self._suspects(store, 2)
        claimed(store, one, new_bid("ann", "here:1"))
        claimed(store, two, new_bid("bob", "there:1"))

    def test_a_death_on_trial_lets_the_next_suspect_in(self, store: RunStore) -> None:
        one, two = self._suspects(store, 2)
        claimed(store, one, new_bid("ann", "host:1"))
        store.bury("ann", "owner")
        assert isinstance(store.claim(two.step, new_bid("bob", "host:2")), Claim)

    def test_a_run_that_is_no_suspect_passes_by_a_trial(self, store: RunStore) -> None:
        (one,) = self._suspects(store, 1)
        claimed(store, one)
        claimed(store, created(store))

    def test_of_those_that_die_together_only_the_one_to_blame_is_set_aside(
        self, store: RunStore
    ) -> None:
        heads = [created(store) for _ in range(5)]
        poison = heads[2].run_id
        for number in range(20):
            owner = f"owner-{number}"
            answers = [store.claim(head.step, new_bid(owner, "host:1")) for head in heads]
            claims = [answer for answer in answers if isinstance(answer, Claim)]
            if poison in [claim.head.run_id for claim in claims]:
                store.bury(owner, "owner")
            for claim in claims:
                store.advance(claim, commit_of(claim, None))
        ends = {head.run_id: read(store, head.run_id).status for head in heads}
        assert ends.pop(poison) is RunStatus.FAILED
        assert set(ends.values()) == {RunStatus.COMPLETED}

    def _suspects(self, store: RunStore, amount: int) -> list[Head]:
        heads = [created(store) for _ in range(amount)]
        for head in heads:
            self._suspect(store, head)
        return heads

    def _suspect(self, store: RunStore, head: Head) -> None:
        for number in range(2):
            claimed(store, head, new_bid(f"silent-{number}"))
            assert head.run_id in store.bury(f"silent-{number}", "owner")
