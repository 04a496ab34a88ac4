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

    def test_a_suspect_that_goes_on_dying_on_trial_is_set_aside(self, store: RunStore) -> None:
        head = created(store)
        self._suspect(store, head)
        self._suspect(store, head)
        assert read(store, head.run_id).status is RunStatus.QUEUED
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
        ends = self._live_through(store, [created(store) for _ in range(5)], poison=2)
        assert ends.pop(2) is RunStatus.FAILED
        assert set(ends) == {RunStatus.COMPLETED}

    def test_a_newcomer_that_kills_a_trial_is_to_blame(self, store: RunStore) -> None:
        (innocent,) = self._suspects(store, 1)
        ends = self._live_through(store, [created(store), innocent], poison=0)
        assert ends == [RunStatus.FAILED, RunStatus.COMPLETED]

    def _live_through(self, store: RunStore, heads: list[Head], *, poison: int) -> list[RunStatus]:
        """Let one worker run all at once, again and again; it dies whenever it has the poison."""
        for number in range(20):
            owner = f"owner-{number}"
            answers = [store.claim(head.step, new_bid(owner, "host:1")) for head in heads]
            if isinstance(answers[poison], Claim):
                store.bury(owner, "owner")
            for claim in answers:
                if isinstance(claim, Claim):
                    store.advance(claim, commit_of(claim, None))
        return [read(store, head.run_id).status for head in heads]

    def _suspects(self, store: RunStore, amount: int) -> list[Head]:
        heads = [created(store) for _ in range(amount)]
        for head in heads:
            self._suspect(store, head)
        return heads

    def _suspect(self, store: RunStore, head: Head) -> None:
        for _ in range(2):
            claimed(store, head, new_bid("silent"))
            assert head.run_id in store.bury("silent", "owner")
