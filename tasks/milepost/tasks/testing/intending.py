"""Taking a run off its way: cancelling and redirecting."""

from __future__ import annotations

from dataclasses import replace

import pytest

from milepost.checkpointing import CheckpointKey, Record

from ..head import Head, RunStatus
from ..runs.base import Advance, Intent, Landing, Next, Refusal, RunStore
from ..settings import TaskSettings
from ..transitions import ALLOWED, Command
from .case import (
    MakeStore,
    RunStoreCase,
    cancelled,
    cancelling,
    claimed,
    commit_of,
    created,
    new_bid,
    new_head,
    new_push,
    new_record,
    read,
)


def redirecting(head: Head, command: Command = Command.REWIND, checkpoint_id: str = "r1") -> Intent:
    """Return the intent to send the run of *head* elsewhere from where it is."""
    position = (head.timeline, head.sequence)
    return Intent(checkpoint_id, RunStatus.REDIRECTING, ALLOWED[command], position)


def landing(
    head: Head, status: RunStatus = RunStatus.QUEUED, stage: str | None = "first"
) -> Landing:
    """Return the end of a redirection: the run goes on at *stage*, or ends."""
    sequence = head.sequence + 1
    path = CheckpointKey(head.run_id, sequence, head.timeline).path
    following = Next(stage, "celery") if stage else None
    return Landing(head.intent, path, sequence, status, following)


class Intending(RunStoreCase):
    """`intend` and `settle`."""

    def test_cancelling_stops_commits_and_ends_with_a_checkpoint(self, store: RunStore) -> None:
        claim = claimed(store)
        run_id = claim.head.run_id
        for _ in range(2):
            assert store.intend(run_id, cancelling("c1")) == (True, RunStatus.RUNNING)
        assert store.intend(run_id, cancelling("c2")) == (False, RunStatus.CANCELLING)
        assert store.advance(claim, commit_of(claim)) is Advance.FENCED
        head = read(store, run_id)
        assert (head.status, head.timeline, head.intent) == (RunStatus.CANCELLING, 1, "c1")
        assert (head.owner, head.nonce, head.token > claim.token) == ("", "", True)
        path = CheckpointKey(run_id, 1, head.timeline).path
        assert not store.settle(replace(head, intent="c2"), cancelled("c2", path))
        for _ in range(2):
            assert store.settle(head, cancelled("c1", path))
        ended = read(store, run_id)
        assert (ended.status, ended.checkpoint_id) == (RunStatus.CANCELLED, "c1")
        assert (ended.at, ended.sequence, ended.stage) == (path, 1, "")

    def test_the_checkpoint_that_ends_it_is_kept(self, store: RunStore) -> None:
        log, head = self.make_log(store), created(store)
        if not store.holds_log(log):
            pytest.skip("this store keeps no log")
        store.intend(head.run_id, cancelling("c1"))
        head = read(store, head.run_id)
        record = Record(CheckpointKey(head.run_id, 1, head.timeline), b"header", b"body")
        assert store.settle(head, cancelled("c1", record.key.path, record))
        assert log.latest(head.run_id) == record

    @pytest.mark.parametrize("begin", [cancelling("c1"), None])
    def test_what_nobody_finishes_is_shown(self, store: RunStore, begin: Intent | None) -> None:
        head = created(store, delay_ms=3_600_000)
        store.intend(head.run_id, begin or redirecting(head))
        assert store.look().heads == ()
        due = store.oldest_due()
        assert due is not None
        assert due <= store.now() + 10_000
        assert self.looked_at(store, head.run_id).intent in ("c1", "r1")

    def test_a_completed_run_is_not_cancelled(self, store: RunStore) -> None:
        claim = claimed(store)
        store.advance(claim, commit_of(claim, None))
        ended = read(store, claim.head.run_id)
        assert store.intend(ended.run_id, cancelling("c")) == (False, RunStatus.COMPLETED)
        assert store.pause(ended.run_id) is RunStatus.COMPLETED
        assert read(store, ended.run_id) == ended

    def test_a_redirected_run_goes_on_elsewhere(self, store: RunStore) -> None:
        claim = claimed(store)
        store.advance(claim, commit_of(claim))
        claim = claimed(store, claim.head)
        begun = store.intend(claim.head.run_id, redirecting(claim.head))
        assert begun == (True, RunStatus.RUNNING)
        head = read(store, claim.head.run_id)
        assert store.claim(head.step, new_bid()) is Refusal.PAUSED
        for _ in range(2):
            assert store.settle(head, landing(head))
        assert store.advance(claim, commit_of(claim)) is Advance.FENCED
        after = read(store, head.run_id)
        assert (after.status, after.stage, after.sequence) == (RunStatus.QUEUED, "first", 2)
        assert (after.timeline, after.checkpoint_id, after.attempt) == (1, "r1", 0)
        assert (after.intent, after.status_before, after.published_at) == ("", "", 0)
        assert self.looked_at(store, head.run_id).stage == "first"
        claimed(store, after)

    def test_a_run_that_has_moved_on_is_not_redirected(self, store: RunStore) -> None:
        claim = claimed(store)
        intent = redirecting(claim.head)
        store.advance(claim, commit_of(claim))
        assert store.intend(claim.head.run_id, intent) == (False, RunStatus.QUEUED)

    def test_a_run_that_was_retried_meanwhile_is_not_redirected(self, store: RunStore) -> None:
        claim = claimed(store)
        store.fail(claim, "{}", None)
        failed = read(store, claim.head.run_id)
        assert store.resume(failed)
        assert store.intend(failed.run_id, redirecting(failed)) == (False, RunStatus.QUEUED)

    def test_what_nobody_intends_is_not_settled(self, store: RunStore) -> None:
        head = created(store)
        path = CheckpointKey(head.run_id, 1, 1).path
        assert not store.settle(head, cancelled("c1", path))
        assert read(store, head.run_id) == head
        store.intend(head.run_id, redirecting(head))
        head = read(store, head.run_id)
        assert store.settle(head, landing(head))
        after = read(store, head.run_id)
        assert not store.settle(after, cancelled("c1", path))
        assert read(store, head.run_id) == after

    def test_a_run_that_was_cancelled_goes_when_its_time_is_over(
        self, make_store: MakeStore
    ) -> None:
        store = make_store(TaskSettings(retention_seconds=0.3))
        log, head = self.make_log(store), new_head()
        store.create(head, record=new_record(head) if store.holds_log(log) else None, push=None)
        store.intend(head.run_id, cancelling("c1"))
        intended = read(store, head.run_id)
        path = CheckpointKey(head.run_id, 1, intended.timeline).path
        assert store.settle(intended, cancelled("c1", path))
        due = store.oldest_due()
        assert due is not None
        assert due <= store.now() + 300
        self.eventually(lambda: store.look() and store.get(head.run_id) is None)
        assert log.latest(head.run_id) is None

    def test_what_went_before_does_not_count_after_a_redirection(self, store: RunStore) -> None:
        claim = claimed(store)
        store.save(claim, path="p", progress="[1, 2]", record=None)
        store.fail(claim, '{"type": "E"}', 0)
        store.pause(claim.head.run_id)
        assert store.mark(read(store, claim.head.run_id))
        before = read(store, claim.head.run_id)
        assert (before.failures, before.error, before.progress) == (1, '{"type": "E"}', "[1, 2]")
        for status in (RunStatus.PAUSED, RunStatus.QUEUED):
            head = read(store, claim.head.run_id)
            store.intend(head.run_id, redirecting(head, checkpoint_id=f"to {status}"))
            head = read(store, head.run_id)
            assert store.settle(head, landing(head, status))
            after = read(store, head.run_id)
            assert (after.failures, after.attempt, after.error) == (0, 0, "")
            assert (after.progress, after.progress_at, after.marked) == ("", "", "")

    def test_a_pause_ends_with_the_run(self, store: RunStore) -> None:
        claim = claimed(store)
        store.pause(claim.head.run_id)
        store.intend(claim.head.run_id, cancelling("c1"))
        head = read(store, claim.head.run_id)
        path = CheckpointKey(head.run_id, 1, head.timeline).path
        assert store.settle(head, cancelled("c1", path))
        ended = read(store, head.run_id)
        store.intend(head.run_id, redirecting(ended))
        head = read(store, head.run_id)
        assert store.settle(head, landing(head))
        assert read(store, head.run_id).status is RunStatus.QUEUED

    def test_of_two_redirections_one_begins(self, store: RunStore) -> None:
        head = created(store)
        assert store.intend(head.run_id, redirecting(head))[0]
        assert not store.intend(head.run_id, redirecting(head, checkpoint_id="r2"))[0]
        assert store.intend(head.run_id, cancelling("c1")) == (False, RunStatus.REDIRECTING)

    @pytest.mark.parametrize("command", [Command.EDIT, Command.SKIP])
    def test_the_table_says_what_is_allowed(self, store: RunStore, command: Command) -> None:
        claim = claimed(store)
        begun, status = store.intend(claim.head.run_id, redirecting(claim.head, command))
        assert (begun, status) == (status in ALLOWED[command], RunStatus.RUNNING)

    def test_a_completed_run_can_go_on_and_lives(self, make_store: MakeStore) -> None:
        store = make_store(TaskSettings(retention_seconds=0.3))
        log, head = self.make_log(store), new_head()
        record = new_record(head) if store.holds_log(log) else None
        store.create(head, record=record, push=None)
        claim = claimed(store, head)
        store.advance(claim, commit_of(claim, None))
        ended = read(store, head.run_id)
        assert store.intend(head.run_id, redirecting(ended)) == (True, RunStatus.COMPLETED)
        ended = read(store, head.run_id)
        assert store.settle(ended, landing(ended))
        other = created(store)
        over = read(store, other.run_id).created_at // 1000 + 400
        self.eventually(lambda: store.look() and created(store).created_at // 1000 > over)
        assert read(store, head.run_id).status is RunStatus.QUEUED
        assert record is None or log.get(record.key) == record

    def test_a_paused_run_stays_paused(self, store: RunStore) -> None:
        head = new_head()
        store.create(head, record=None, push=new_push("go"))
        store.pause(head.run_id)
        store.intend(head.run_id, redirecting(head))
        head = read(store, head.run_id)
        assert store.settle(head, landing(head, RunStatus.PAUSED))
        after = read(store, head.run_id)
        assert (after.status, after.stage, after.published_at) == (RunStatus.PAUSED, "first", 0)
        assert store.oldest_due() is None
        assert store.resume(after)
        claimed(store, after)

    def test_the_pause_of_a_running_stage_outlives_a_redirection(self, store: RunStore) -> None:
        claim = claimed(store)
        store.pause(claim.head.run_id)
        store.intend(claim.head.run_id, redirecting(claim.head))
        head = read(store, claim.head.run_id)
        assert store.settle(head, landing(head))
        assert read(store, head.run_id).status is RunStatus.PAUSED

    def test_a_scheduled_run_keeps_its_time(self, store: RunStore) -> None:
        head = created(store, delay_ms=300)
        store.intend(head.run_id, redirecting(head, Command.EDIT))
        head = read(store, head.run_id)
        assert head.due_before > 0
        assert store.settle(head, landing(head, RunStatus.SCHEDULED))
        assert read(store, head.run_id).status is RunStatus.SCHEDULED
        assert self.looked_at(store, head.run_id).status is RunStatus.QUEUED

    def test_a_failed_run_stays_failed_with_its_error(self, store: RunStore) -> None:
        claim = claimed(store)
        store.fail(claim, '{"type": "E", "group": "g"}', None)
        failed = read(store, claim.head.run_id)
        store.intend(failed.run_id, redirecting(failed, Command.EDIT))
        assert store.groups() == []
        head = read(store, failed.run_id)
        assert store.settle(head, landing(head, RunStatus.FAILED))
        after = read(store, failed.run_id)
        assert (after.status, after.error) == (RunStatus.FAILED, failed.error)
        assert [group.last_at for group in store.groups()] == [failed.finished_at]
        assert store.oldest_due() is None
        assert store.resume(after)

    def test_it_can_be_taken_back_without_a_checkpoint(self, store: RunStore) -> None:
        before = created(store)
        store.intend(before.run_id, redirecting(before))
        head = read(store, before.run_id)
        back = replace(landing(head), checkpoint_id=head.checkpoint_id, path=head.at, sequence=0)
        assert not store.settle(replace(head, intent="r2"), replace(back, checkpoint_id="r2"))
        for _ in range(2):
            assert store.settle(head, back)
        after = read(store, head.run_id)
        assert (after.status, after.intent) == (RunStatus.QUEUED, "")
        assert (after.checkpoint_id, after.at) == (before.checkpoint_id, before.at)
        assert not store.settle(head, landing(head)), "who comes late is refused"
        claimed(store, after)

    def test_a_run_can_end_by_it(self, store: RunStore) -> None:
        head = created(store)
        store.intend(head.run_id, redirecting(head, Command.SKIP))
        head = read(store, head.run_id)
        assert store.settle(head, landing(head, RunStatus.COMPLETED, None))
        after = read(store, head.run_id)
        assert (after.status, after.stage, after.finished_at > 0) == (RunStatus.COMPLETED, "", True)
        assert store.claim(head.step, new_bid()) is Refusal.FINISHED
        assert self.messages(store) == []
