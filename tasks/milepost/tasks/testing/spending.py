"""What tries spend: useful or wasted, by how they end."""

from __future__ import annotations

from dataclasses import replace

from ..runs.base import Advance, Claim, RunStore
from .case import RunStoreCase, claimed, commit_of, created, deleted, new_bid, read


def spent(store: RunStore, claim: Claim) -> tuple[dict[str, float], dict[str, float]]:
    """Return the useful and the wasted amounts but for the seconds."""
    whole = read(store, claim.head.run_id).spent
    return tuple(  # type: ignore[return-value]
        {unit: amount for unit, amount in part.items() if unit != "seconds"}
        for part in (whole.useful, whole.wasted)
    )


class Spending(RunStoreCase):
    """`spend`, `set_budget` and what ends a claim."""

    def test_a_commit_makes_it_useful(self, store: RunStore) -> None:
        claim = claimed(store)
        for _ in range(2):
            assert store.spend(claim, '{"usd": 0.1, "tokens_in": 7}', kept=False)
        assert store.spend(claim, '{"usd": 0.3, "tokens_in": 9}', kept=False)
        assert store.advance(claim, commit_of(claim)) is Advance.ADVANCED
        assert spent(store, claim) == ({"usd": 0.3, "tokens_in": 9}, {})
        again = claimed(store, claim.head)
        assert store.spend(again, '{"usd": 0.2}', kept=False)
        assert store.advance(again, commit_of(again, None)) is Advance.ADVANCED
        assert spent(store, claim) == ({"usd": 0.5, "tokens_in": 9}, {})

    def test_the_commit_has_the_last_word(self, store: RunStore) -> None:
        claim = claimed(store)
        assert store.spend(claim, '{"usd": 0.1}', kept=False)
        commit = replace(commit_of(claim), spent='{"usd": 0.4}', size_bytes=100)
        for _ in range(2):
            assert store.advance(claim, commit) is Advance.ADVANCED
        assert spent(store, claim) == ({"usd": 0.4}, {})
        assert read(store, claim.head.run_id).written_bytes == 100

    def test_a_failure_wastes_it(self, store: RunStore) -> None:
        claim = claimed(store)
        store.spend(claim, '{"usd": 0.1}', kept=False)
        for _ in range(2):
            assert store.fail(claim, "{}", None)
        assert spent(store, claim) == ({}, {"usd": 0.1})

    def test_a_crash_wastes_what_was_not_kept(self, store: RunStore) -> None:
        head = created(store)
        claim = claimed(store, head, new_bid("ann"))
        store.spend(claim, '{"usd": 0.5}', kept=False)
        assert store.save(claim, path="progress/1", progress="[1, 2]", record=None)
        store.spend(claim, '{"usd": 0.75, "tokens_in": 3}', kept=False)
        store.bury("ann", "child")
        assert spent(store, claim) == ({"usd": 0.5}, {"usd": 0.25, "tokens_in": 3})
        again = claimed(store, head, new_bid("bob"))
        store.spend(again, '{"usd": 1}', kept=True)
        store.spend(again, '{"usd": 1.5}', kept=False)
        assert store.hand_back(again, None)
        assert spent(store, claim) == ({"usd": 1.5}, {"usd": 0.75, "tokens_in": 3})
        assert read(store, head.run_id).tries == 2

    def test_who_lost_the_claim_spends_nothing(self, store: RunStore) -> None:
        head = created(store)
        old = claimed(store, head, new_bid("ann"))
        store.bury("ann", "child")
        assert not store.spend(old, '{"usd": 9}', kept=False)
        new = claimed(store, head, new_bid("bob"))
        assert not store.spend(old, '{"usd": 9}', kept=True)
        assert store.advance(new, commit_of(new)) is Advance.ADVANCED
        assert spent(store, new) == ({}, {})

    def test_time_is_kept_apart_as_well(self, store: RunStore) -> None:
        head = created(store)
        claim = claimed(store, head)
        self.eventually(lambda: self._took(store, 0.03, claim))
        assert store.fail(claim, "{}", 0)
        failed = read(store, head.run_id)
        assert failed.wasted_ms >= 30
        assert failed.worked_ms == 0
        self.looked_at(store, head.run_id)
        again = claimed(store, head)
        self.eventually(lambda: self._took(store, 0.03, again))
        assert store.advance(again, commit_of(again, None)) is Advance.ADVANCED
        done = read(store, head.run_id)
        assert (done.worked_ms >= 30, done.wasted_ms) == (True, failed.wasted_ms)

    def _took(self, store: RunStore, seconds: float, claim: Claim) -> bool:
        """Whether the store's clock has gone on so far since the claim: each report brings its time along."""
        store.spend(claim, "", kept=False)
        head = read(store, claim.head.run_id)
        return head.updated_at - head.claimed_at >= seconds * 1000

    def test_a_budget_is_replaced_by_who_knows_it(self, store: RunStore) -> None:
        head = created(store)
        for _ in range(2):
            assert store.set_budget(head, '{"usd": 1}', "one")
        assert not store.set_budget(head, '{"usd": 2}', "two")
        assert store.set_budget(read(store, head.run_id), '{"usd": 3}', "two")
        assert read(store, head.run_id).budget == '{"usd": 3}'
        store.pause(head.run_id)
        deleted(store, head.run_id)
        assert not store.set_budget(head, '{"usd": 4}', "three")

    def test_an_equal_budget_of_another_is_not_taken_for_the_own(self, store: RunStore) -> None:
        head = created(store)
        assert store.set_budget(head, '{"usd": 2}', "ann")
        assert not store.set_budget(head, '{"usd": 2}', "bob")
        assert store.set_budget(read(store, head.run_id), '{"usd": 4}', "bob")
        assert store.set_budget(head, '{"usd": 2}', "ann"), "it was done, whatever came later"
        assert read(store, head.run_id).budget == '{"usd": 4}'

    def test_the_calls_known_again_are_few(self, store: RunStore) -> None:
        run_id = created(store).run_id
        for number in range(20):
            assert store.set_budget(read(store, run_id), f'{{"usd": {number + 1}}}', f"c{number}")
        head = read(store, run_id)
        assert (head.budget, head.budget_calls.split()[0]) == ('{"usd": 20}', "c19")
        assert len(head.budget_calls) < 40
