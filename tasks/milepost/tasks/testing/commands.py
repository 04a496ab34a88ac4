"""What people do to runs: pause, resume, retry, delete."""

from __future__ import annotations

from dataclasses import replace

import pytest

from milepost.checkpointing import CheckpointKey

from ..head import RunStatus
from ..runs.base import Advance, Refusal, RunStore
from .case import (
    RunStoreCase,
    cancelled,
    cancelling,
    claimed,
    commit_of,
    created,
    deleted,
    deleting,
    new_bid,
    new_head,
    new_push,
    new_record,
    read,
)


class Commands(RunStoreCase):
    """`pause`, `resume` and `delete`."""

    def test_a_waiting_run_pauses_at_once_and_resumes(self, store: RunStore) -> None:
        for head in (created(store), created(store, delay_ms=60_000)):
            assert store.pause(head.run_id) is RunStatus.PAUSED
            assert store.pause(head.run_id) is RunStatus.PAUSED
            paused = read(store, head.run_id)
            for _ in range(2):
                assert store.resume(paused)
            now = read(store, head.run_id)
            assert (now.status, now.pause, now.published_at) == (RunStatus.QUEUED, 0, 0)
            claimed(store, head)

    def test_a_running_stage_is_let_finish_before_the_pause(self, store: RunStore) -> None:
        claim = claimed(store)
        assert store.pause(claim.head.run_id) is RunStatus.RUNNING
        assert store.advance(claim, commit_of(claim, push=new_push("no"))) is Advance.ADVANCED
        head = read(store, claim.head.run_id)
        assert (head.status, head.stage, head.published_at) == (RunStatus.PAUSED, "second", 0)
        assert self.messages(store) == []
        assert store.look().heads == ()
        assert store.claim(head.step, new_bid()) is Refusal.PAUSED
        assert store.resume(head)
        claimed(store, head)

    def test_a_pause_is_honoured_however_the_stage_ends(self, store: RunStore) -> None:
        failing, returned, dying = (claimed(store, bid=new_bid("ann")) for _ in range(3))
        for claim in (failing, returned, dying):
            store.pause(claim.head.run_id)
        store.fail(failing, "{}", 0)
        store.hand_back(returned, new_push("no"))
        store.bury("ann", "child")
        for claim in (failing, returned, dying):
            assert read(store, claim.head.run_id).status is RunStatus.PAUSED
        assert self.messages(store) == []

    def test_the_pause_of_a_running_stage_can_be_taken_back(self, store: RunStore) -> None:
        claim = claimed(store)
        store.pause(claim.head.run_id)
        assert store.resume(read(store, claim.head.run_id))
        store.advance(claim, commit_of(claim, push=new_push("next")))
        assert read(store, claim.head.run_id).status is RunStatus.QUEUED

    def test_an_unknown_run_is_not_paused(self, store: RunStore) -> None:
        assert store.pause("nobody") is None
        assert store.intend("nobody", cancelling("c")) == (False, None)

    def test_a_scheduled_run_can_be_moved_now(self, store: RunStore) -> None:
        claim = claimed(store)
        store.fail(claim, "{}", 60_000)
        assert store.resume(read(store, claim.head.run_id))
        assert claimed(store, claim.head).head.failures == 1

    def test_a_failed_run_goes_on_in_a_new_timeline(self, store: RunStore) -> None:
        claim = claimed(store)
        store.fail(claim, '{"type": "E"}', None)
        failed = read(store, claim.head.run_id)
        for _ in range(2):
            assert store.resume(failed)
        now = read(store, failed.run_id)
        assert (now.status, now.timeline, now.stage) == (RunStatus.QUEUED, 1, "first")
        assert (now.failures, now.attempt, now.finished_at) == (0, 0, 0)
        assert store.claim(claim.head.step, new_bid()) is Refusal.STALE
        new = claimed(store, now)
        assert store.advance(claim, commit_of(claim)) is Advance.FENCED
        assert store.advance(new, commit_of(new)) is Advance.ADVANCED

    def test_a_run_that_changed_meanwhile_is_not_resumed(self, store: RunStore) -> None:
        head = created(store)
        store.pause(head.run_id)
        paused = read(store, head.run_id)
        store.resume(paused)
        claim = claimed(store, head)
        assert not store.resume(paused)
        store.advance(claim, commit_of(claim, None))
        assert not store.resume(paused)
        assert not store.resume(read(store, head.run_id))

    def test_a_pause_or_failure_of_an_earlier_stage_or_try_is_not_ended(
        self, store: RunStore
    ) -> None:
        head = created(store)
        store.pause(head.run_id)
        paused = read(store, head.run_id)
        assert store.resume(paused)
        claim = claimed(store, head)
        store.advance(claim, commit_of(claim))
        store.pause(head.run_id)
        assert not store.resume(paused)
        assert store.resume(read(store, head.run_id))
        store.fail(claimed(store, head), "{}", None)
        failed = read(store, head.run_id)
        assert store.resume(failed)
        assert read(store, head.run_id).token > failed.token
        claim = claimed(store, head)
        store.fail(claim, "{}", None)
        assert not store.resume(failed)
        assert read(store, head.run_id).status is RunStatus.FAILED

    def test_only_runs_at_rest_are_deleted(self, store: RunStore) -> None:
        head = created(store)
        assert deleted(store, head.run_id) is RunStatus.QUEUED
        claim = claimed(store, head)
        assert deleted(store, head.run_id) is RunStatus.RUNNING
        store.fail(claim, "{}", 60_000)
        assert deleted(store, head.run_id) is RunStatus.SCHEDULED
        store.pause(head.run_id)
        assert deleted(store, head.run_id) is None
        assert store.get(head.run_id) is None
        assert deleted(store, head.run_id) is None
        assert store.claim(head.step, new_bid()) is Refusal.UNKNOWN
        assert store.find().items == ()

    def test_a_run_that_is_being_deleted_takes_nothing_else(self, store: RunStore) -> None:
        waiting, broken = created(store), claimed(store)
        store.pause(waiting.run_id)
        store.fail(broken, '{"type": "E", "group": "g"}', None)
        for run_id in (waiting.run_id, broken.head.run_id):
            before = read(store, run_id)
            for _ in range(2):
                assert store.intend(run_id, deleting("d1")) == (True, before.status)
            assert store.intend(run_id, deleting("d2")) == (False, RunStatus.DELETING)
            assert store.intend(run_id, cancelling("c1")) == (False, RunStatus.DELETING)
            head = read(store, run_id)
            assert (head.status, head.intent) == (RunStatus.DELETING, "d1")
            assert store.claim(head.step, new_bid()) is Refusal.PAUSED
            assert store.pause(run_id) is RunStatus.DELETING
            assert not store.resume(before)
            assert not store.resume(head)
            path = CheckpointKey(run_id, 1, head.timeline).path
            assert not store.settle(head, cancelled("d1", path))
            assert read(store, run_id) == head
        assert store.groups() == []

    def test_a_deletion_that_nobody_ends_is_shown(self, store: RunStore) -> None:
        head = created(store)
        store.pause(head.run_id)
        store.intend(head.run_id, deleting("d1"))
        seen = self.looked_at(store, head.run_id)
        assert (seen.status, seen.intent) == (RunStatus.DELETING, "d1")
        assert store.delete(seen)
        assert store.get(head.run_id) is None

    def test_only_what_was_to_be_deleted_is(self, store: RunStore) -> None:
        head = created(store)
        assert not store.delete(head)
        store.pause(head.run_id)
        store.intend(head.run_id, deleting("d1"))
        intended = read(store, head.run_id)
        assert not store.delete(replace(intended, intent="d2"))
        for _ in range(2):
            assert store.delete(intended)
        created(store, head)
        assert not store.delete(intended), "it is another run"
        assert read(store, head.run_id).status is RunStatus.QUEUED

    def test_a_run_that_ended_can_be_deleted_and_made_again(self, store: RunStore) -> None:
        claim = claimed(store)
        store.advance(claim, commit_of(claim, None))
        assert deleted(store, claim.head.run_id) is None
        assert store.oldest_due() is None
        assert store.look().heads == ()
        assert created(store, claim.head).sequence == 0

    def test_the_log_of_a_deleted_run_goes_with_it(self, store: RunStore) -> None:
        log, head = self.make_log(store), new_head()
        if not store.holds_log(log):
            pytest.skip("this store keeps no log")
        store.create(head, record=new_record(head), push=None)
        store.pause(head.run_id)
        deleted(store, head.run_id)
        assert log.latest(head.run_id) is None
        assert log.runs().items == ()
