"""Runs that should be moving and are not."""

from __future__ import annotations

from ..head import Head, RunStatus
from ..runs.base import Advance, RunStore
from .case import (
    RunStoreCase,
    claimed,
    commit_of,
    created,
    new_bid,
    new_head,
    new_push,
    read,
)


class Looking(RunStoreCase):
    """`look` and `requeue`."""

    def test_a_run_whose_message_nobody_claims_is_shown(self, store: RunStore) -> None:
        head = created(store)
        assert store.look().heads == ()
        seen = self.looked_at(store, head.run_id)
        assert seen.status is RunStatus.QUEUED
        assert seen == read(store, head.run_id)

    def test_what_one_looker_saw_is_leased(self, store: RunStore) -> None:
        head = created(store)
        store.resume(self._paused(store, head.run_id))
        assert [seen.run_id for seen in store.look().heads] == [head.run_id]
        assert store.look().heads == ()

    def test_a_running_stage_is_not_shown(self, store: RunStore) -> None:
        claimed(store)
        assert store.look().heads == ()

    def test_an_owner_that_fell_silent_is_buried(self, brisk: RunStore) -> None:
        claim = claimed(brisk, bid=new_bid("ann"))
        seen = self.looked_at(brisk, claim.head.run_id)
        assert (seen.status, seen.suspicions, seen.published_at) == (RunStatus.QUEUED, 1, 0)
        assert seen.last_cause == "owner"
        assert brisk.advance(claim, commit_of(claim)) is Advance.FENCED

    def test_silence_while_nobody_looked_proves_nothing(self, brisk: RunStore) -> None:
        claim, clock = claimed(brisk, bid=new_bid("ann")), created(brisk)
        brisk.look()

        def lapsed() -> bool:
            brisk.requeue(clock, push=None, published=False, patience_ms=60_000)
            return read(brisk, clock.run_id).updated_at > claim.head.claimed_at + 2_000

        self.eventually(lapsed)
        assert brisk.look().heads == ()
        assert read(brisk, claim.head.run_id) == claim.head
        assert self.looked_at(brisk, claim.head.run_id).suspicions == 1

    def test_an_owner_is_spared_only_once(self, brisk: RunStore) -> None:
        """However seldom somebody looks."""
        claim, clock = claimed(brisk, bid=new_bid("ann")), created(brisk)
        at = claim.head.claimed_at
        for _ in range(4):
            brisk.look()
            at += 1_500

            def later(at: int = at) -> bool:
                head = read(brisk, clock.run_id)
                brisk.requeue(head, push=None, published=False, patience_ms=60_000)
                return read(brisk, clock.run_id).updated_at > at

            self.eventually(later)
        brisk.look()
        assert read(brisk, claim.head.run_id).suspicions == 1

    def test_a_stage_past_its_deadline_loses_its_claim(self, store: RunStore) -> None:
        head = created(store, new_head(time_limit_ms=200))
        claim = claimed(store, head)
        seen = self.looked_at(store, head.run_id)
        assert (seen.status, seen.crashes, seen.last_cause) == (RunStatus.QUEUED, 1, "timeout")
        assert store.advance(claim, commit_of(claim)) is Advance.FENCED
        claimed(store, head)

        def ended() -> bool:
            store.look()
            return read(store, head.run_id).status is RunStatus.FAILED

        self.eventually(ended)
        failure = read(store, head.run_id).failure
        assert failure is not None
        assert failure["type"] == "StageTimeout"

    def test_the_newest_publication_claimed_is_told(self, store: RunStore) -> None:
        assert store.look().newest == {}
        published = []
        for _ in range(3):
            head = new_head()
            store.create(head, record=None, push=new_push("go"))
            published.append(claimed(store, head).head.published_at)
        newest = store.look().newest
        assert set(newest) == {("celery", 0)}
        assert max(published) - 500 <= newest["celery", 0] <= max(published)

    def test_a_stage_that_is_begun_again_does_not_tell_of_its_publication(
        self, store: RunStore
    ) -> None:
        """Its message went ahead of others, which are not lost for that."""
        head = created(store, new_head())
        claim = claimed(store, head)
        before = store.look().newest
        store.bury(claim.head.owner, "child")
        freed = read(store, head.run_id)
        self.eventually(lambda: store.now() > claim.head.claimed_at + 5)
        assert store.requeue(freed, push=new_push("go"), published=True, patience_ms=60_000)
        again = claimed(store, freed)
        assert again.head.published_at > claim.head.claimed_at
        assert store.look().newest == before

    def test_requeueing_publishes_once(self, store: RunStore) -> None:
        head = created(store)
        assert store.requeue(head, push=new_push("go"), published=True, patience_ms=60_000)
        now = read(store, head.run_id)
        assert now.published_at > 0
        assert now.patience_ms == 60_000
        assert not store.requeue(head, push=new_push("go"), published=True, patience_ms=60_000)
        assert self.messages(store) == ["go"]

    def test_requeueing_may_only_put_the_look_off(self, store: RunStore) -> None:
        head = created(store)
        store.requeue(head, push=None, published=True, patience_ms=1)
        seen = self.looked_at(store, head.run_id)
        assert store.requeue(seen, push=None, published=False, patience_ms=100)
        assert read(store, head.run_id).published_at == seen.published_at
        assert self.looked_at(store, head.run_id).patience_ms == 100

    def test_requeueing_a_run_that_moved_on_does_nothing(self, store: RunStore) -> None:
        head = created(store)
        claim = claimed(store, head)
        for _ in range(2):
            assert not store.requeue(head, push=new_push("no"), published=True, patience_ms=1)
            store.advance(claim, commit_of(claim))
        assert self.messages(store) == []
        assert not store.requeue(new_head(), push=new_push("no"), published=True, patience_ms=1)

    def _paused(self, store: RunStore, run_id: str) -> Head:
        store.pause(run_id)
        return read(store, run_id)
