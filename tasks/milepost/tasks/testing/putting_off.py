"""Runs that this worker cannot go on with: left for a while, or paused with the reason."""

from __future__ import annotations

from dataclasses import replace

from ..head import RunStatus
from ..runs.base import Advance, Refusal, RunStore
from .case import RunStoreCase, claimed, commit_of, created, new_bid, read

WHY = '{"type": "StageGone"}'


class PuttingOff(RunStoreCase):
    """`put_off`, and what of a commit changes the pipeline."""

    def test_a_claimed_run_waits(self, store: RunStore) -> None:
        claim = claimed(store)
        for _ in range(2):
            assert store.put_off(claim.head, nonce=claim.nonce, delay_ms=1, error=WHY, ran=True)
        head = read(store, claim.head.run_id)
        assert (head.status, head.failure) == (RunStatus.SCHEDULED, {"type": "StageGone"})
        assert (head.failures, head.crashes, head.nonce) == (0, 0, "")
        assert store.advance(claim, commit_of(claim)) is Advance.FENCED
        assert self.looked_at(store, head.run_id).published_at == 0
        assert claimed(store, head).head.failure == {"type": "StageGone"}

    def test_what_did_not_run_is_no_attempt(self, store: RunStore) -> None:
        head = created(store)
        for ran, attempts in ((False, 0), (True, 1), (False, 1)):
            claim = claimed(store, head)
            for _ in range(2):
                assert store.put_off(
                    claim.head, nonce=claim.nonce, delay_ms=None, error=WHY, ran=ran
                )
            there = read(store, head.run_id)
            assert (there.attempt, there.tries) == (attempts, attempts)
            assert store.resume(there)
            assert read(store, head.run_id).failure is None

    def test_a_claimed_run_is_paused(self, store: RunStore) -> None:
        claim = claimed(store)
        for _ in range(2):
            assert store.put_off(claim.head, nonce=claim.nonce, delay_ms=None, error=WHY, ran=True)
        head = read(store, claim.head.run_id)
        assert (head.status, head.failure) == (RunStatus.PAUSED, {"type": "StageGone"})
        assert store.claim(head.step, new_bid()) is Refusal.PAUSED
        assert store.resume(head)
        assert claimed(store, head)

    def test_a_queued_run_waits_or_is_paused(self, store: RunStore) -> None:
        for delay_ms, status in ((60_000, RunStatus.SCHEDULED), (None, RunStatus.PAUSED)):
            head = created(store)
            for _ in range(2):
                assert store.put_off(head, nonce="", delay_ms=delay_ms, error=WHY, ran=True)
            assert read(store, head.run_id).status is status

    def test_a_run_that_was_to_be_paused_is(self, store: RunStore) -> None:
        claim = claimed(store)
        store.pause(claim.head.run_id)
        assert store.put_off(claim.head, nonce=claim.nonce, delay_ms=60_000, error=WHY, ran=True)
        assert read(store, claim.head.run_id).status is RunStatus.PAUSED

    def test_a_run_that_has_moved_on_is_left_alone(self, store: RunStore) -> None:
        head = created(store)
        old = claimed(store, head, new_bid("ann"))
        assert not store.put_off(head, nonce="", delay_ms=None, error=WHY, ran=True)
        store.bury("ann", "child")
        new = claimed(store, head, new_bid("bob"))
        assert not store.put_off(old.head, nonce=old.nonce, delay_ms=None, error=WHY, ran=True)
        assert store.advance(new, commit_of(new)) is Advance.ADVANCED
        assert not store.put_off(new.head, nonce=new.nonce, delay_ms=None, error=WHY, ran=True)
        assert not store.put_off(new.head, nonce="", delay_ms=None, error=WHY, ran=True)
        assert read(store, head.run_id).status is RunStatus.QUEUED
        missing = replace(head, run_id="nobody")
        assert not store.put_off(missing, nonce="", delay_ms=None, error=WHY, ran=True)

    def test_a_commit_moves_a_run_to_another_version(self, store: RunStore) -> None:
        claim = claimed(store)
        changes: dict[str, str | int] = {
            "version": "2",
            "fingerprint": "f2",
            "plan": '["first"]',
            "stages_total": 7,
        }
        commit = replace(commit_of(claim), changes=changes)
        assert store.advance(claim, commit) is Advance.ADVANCED
        head = read(store, claim.head.run_id)
        assert (head.version, head.fingerprint, head.plan) == ("2", "f2", '["first"]')
        assert (head.stages_total, head.stages_done) == (7, 1)

    def test_a_commit_of_others_may_be_far_ahead(self, store: RunStore) -> None:
        """The run store went back: the stages done and the token go on behind what the log has."""
        claim = claimed(store)
        changes: dict[str, str | int] = {"stages_done": 3, "token": 9}
        assert store.advance(claim, replace(commit_of(claim), changes=changes)) is Advance.ADVANCED
        head = read(store, claim.head.run_id)
        assert (head.stages_done, head.token) == (3, 9)
        assert claimed(store, head).token == 10
