"""Committing a stage: all of it once, or nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from milepost.checkpointing import NotFound, Record

from ..head import RunStatus
from ..query import RunQuery
from ..runs.base import Advance, Claim, Next, Refusal, RunStore
from ..settings import TaskSettings
from .case import (
    MakeStore,
    RunStoreCase,
    claimed,
    commit_of,
    created,
    new_bid,
    new_head,
    new_push,
    new_record,
    read,
)


class Committing(RunStoreCase):
    """`advance` and `divert`."""

    def test_a_commit_makes_the_next_stage_due(self, store: RunStore) -> None:
        claim = claimed(store)
        commit = commit_of(claim, push=new_push("next"))
        assert store.advance(claim, commit) is Advance.ADVANCED
        head = read(store, claim.head.run_id)
        assert (head.status, head.stage, head.sequence) == (RunStatus.QUEUED, "second", 1)
        assert (head.checkpoint_id, head.at) == (commit.checkpoint_id, commit.path)
        assert (head.owner, head.nonce, head.attempt, head.stages_done) == ("", "", 0, 1)
        assert head.published_at > 0
        assert self.messages(store) == ["next"]

    def test_a_commit_without_push_is_not_published(self, store: RunStore) -> None:
        claim = claimed(store)
        store.advance(claim, commit_of(claim))
        assert read(store, claim.head.run_id).published_at == 0

    def test_the_last_commit_ends_the_run(self, store: RunStore) -> None:
        claim = claimed(store)
        assert store.advance(claim, commit_of(claim, None)) is Advance.ADVANCED
        head = read(store, claim.head.run_id)
        assert (head.status, head.stage, head.queue) == (RunStatus.COMPLETED, "", "")
        assert head.finished_at > 0

    def test_a_repeated_commit_pushes_once(self, store: RunStore) -> None:
        claim = claimed(store)
        commit = commit_of(claim, push=new_push("next"))
        assert store.advance(claim, commit) is Advance.ADVANCED
        stands = read(store, claim.head.run_id)
        assert store.advance(claim, commit) is Advance.ADVANCED
        assert read(store, claim.head.run_id) == stands
        assert self.messages(store) == ["next"]

    def test_who_commits_can_have_the_next_stage_at_once(self, store: RunStore) -> None:
        claim = claimed(store)
        bid = new_bid("ann", "ann@host")
        commit = replace(commit_of(claim, bid=bid), following=Next("second", "celery", 0, 60_000))
        onward = store.advance(claim, commit)
        assert isinstance(onward, Claim)
        head = read(store, claim.head.run_id)
        assert (onward.head, onward.nonce, onward.record) == (head, bid.nonce, None)
        assert (head.status, head.stage, head.sequence) == (RunStatus.RUNNING, "second", 1)
        assert (head.checkpoint_id, head.stages_done) == (commit.checkpoint_id, 1)
        assert (head.owner, head.worker, head.nonce) == ("ann", "ann@host", bid.nonce)
        assert (head.token, head.attempt, head.tries) == (claim.token + 1, 1, 2)
        assert head.deadline == head.claimed_at + 60_000
        assert (head.published_at, self.messages(store)) == (0, [])
        assert store.counts()["orders", RunStatus.RUNNING] == 1
        assert store.claim(head.step, new_bid("bob")) is Refusal.DUPLICATE
        assert store.advance(onward, commit_of(onward, None)) is Advance.ADVANCED

    def test_a_repeated_commit_gets_the_same_claim_while_it_stands(self, store: RunStore) -> None:
        claim = claimed(store)
        commit = commit_of(claim, bid=new_bid("ann"))
        onward = store.advance(claim, commit)
        assert store.advance(claim, commit) == onward
        assert read(store, claim.head.run_id).attempt == 1
        assert store.bury("ann", "child") == [claim.head.run_id]
        assert store.advance(claim, commit) is Advance.ADVANCED

    def test_what_was_claimed_with_a_commit_is_lost_like_any_claim(self, store: RunStore) -> None:
        claim = claimed(store)
        onward = store.advance(claim, commit_of(claim, bid=new_bid("ann")))
        assert isinstance(onward, Claim)
        assert store.beat("ann", [], new_bid().ordinal, leaving=False) == set()
        head = read(store, claim.head.run_id)
        assert (head.status, head.stage, head.crashes) == (RunStatus.QUEUED, "second", 0)
        assert store.advance(onward, commit_of(onward, None)) is Advance.FENCED

    def test_a_run_that_is_to_pause_is_not_given_on(self, store: RunStore) -> None:
        claim = claimed(store)
        store.pause(claim.head.run_id)
        commit = commit_of(claim, bid=new_bid())
        assert store.advance(claim, commit) is Advance.ADVANCED
        head = read(store, claim.head.run_id)
        assert (head.status, head.stage, head.owner) == (RunStatus.PAUSED, "second", "")

    def test_a_fenced_commit_claims_nothing(self, store: RunStore) -> None:
        claim = claimed(store)
        forged = replace(claim, nonce="another")
        assert store.advance(forged, commit_of(forged, bid=new_bid())) is Advance.FENCED
        assert read(store, claim.head.run_id) == claim.head

    def test_the_last_commit_claims_nothing(self, store: RunStore) -> None:
        claim = claimed(store)
        assert store.advance(claim, commit_of(claim, None, bid=new_bid())) is Advance.ADVANCED
        assert read(store, claim.head.run_id).status is RunStatus.COMPLETED

    def test_counts_begin_anew_with_progress(self, store: RunStore) -> None:
        head = created(store)
        store.fail(claimed(store, head), '{"type": "E"}', 0)
        self.looked_at(store, head.run_id)
        claimed(store, head, new_bid("ann"))
        store.bury("ann", "child")
        claimed(store, head, new_bid("bob"))
        store.bury("bob", "owner")
        claim = claimed(store, head)
        assert (claim.head.failures, claim.head.crashes, claim.head.suspicions) == (1, 1, 1)
        store.advance(claim, commit_of(claim))
        now = read(store, head.run_id)
        assert (now.failures, now.crashes, now.suspicions, now.attempt) == (0, 0, 0, 0)
        assert now.error == ""

    def test_a_claim_that_was_taken_away_commits_nothing(self, store: RunStore) -> None:
        old = claimed(store, bid=new_bid("ann"))
        store.bury("ann", "owner")
        commit = commit_of(old, push=new_push("late"))
        waiting = read(store, old.head.run_id)
        assert store.advance(old, commit) is Advance.FENCED
        assert read(store, old.head.run_id) == waiting
        new = claimed(store, old.head)
        assert store.advance(old, commit) is Advance.FENCED
        assert read(store, old.head.run_id) == new.head
        assert self.messages(store) == []

    def test_token_and_nonce_must_both_match(self, store: RunStore) -> None:
        claim = claimed(store)
        other_nonce = replace(claim, nonce="another")
        other_token = replace(claim, head=replace(claim.head, token=claim.token + 1))
        for forged in (other_nonce, other_token):
            assert store.advance(forged, commit_of(forged)) is Advance.FENCED
            assert not store.fail(forged, "{}", None)
            assert not store.hand_back(forged, None)
            assert store.divert(forged) is None
        assert read(store, claim.head.run_id) == claim.head

    def test_the_record_is_written_with_the_commit_only(self, store: RunStore) -> None:
        log, head = self.make_log(store), new_head()
        if not store.holds_log(log):
            pytest.skip("this store keeps no log")
        store.create(head, record=new_record(head), push=None)
        claim = claimed(store, head)
        commit = commit_of(claim)
        key = replace(head, at=commit.path).key
        commit = replace(commit, record=Record(key, b"header", b"body"))
        assert store.advance(replace(claim, nonce="another"), commit) is Advance.FENCED
        with pytest.raises(NotFound):
            log.get(key)
        assert store.advance(claim, commit) is Advance.ADVANCED
        assert log.latest(head.run_id) == commit.record
        assert claimed(store, head).record == commit.record

    def test_nothing_is_removed_behind_a_commit_that_is_not_there(self, store: RunStore) -> None:
        log, head = self.make_log(store), new_head()
        if not store.holds_log(log):
            pytest.skip("this store keeps no log")
        record = new_record(head)
        store.create(head, record=record, push=None)
        assert log.delete_behind(record.key, record.key._replace(sequence=1)) is False
        assert log.latest(head.run_id) == record

    def test_a_stray_record_is_left_alone_and_evaded(self, store: RunStore) -> None:
        log, claim = self.make_log(store), claimed(store)
        if not store.holds_log(log):
            pytest.skip("this store keeps no log")
        commit = commit_of(claim, push=new_push("next"))
        key = replace(claim.head, at=commit.path).key
        stray = Record(key, b"stray", b"stray")
        log.put(stray)
        commit = replace(commit, record=Record(key, b"header", b"body"))
        assert store.advance(claim, commit) is Advance.OCCUPIED
        assert read(store, claim.head.run_id) == claim.head
        assert self.messages(store) == []
        timeline = store.divert(claim)
        assert store.divert(claim) == timeline
        assert timeline == 1
        claim = replace(claim, head=replace(claim.head, timeline=timeline))
        commit = commit_of(claim)
        key = replace(claim.head, at=commit.path).key
        commit = replace(commit, record=Record(key, b"header", b"body"))
        assert store.advance(claim, commit) is Advance.ADVANCED
        assert log.get(stray.key) == stray
        assert read(store, claim.head.run_id).timeline == 1

    def test_an_ended_run_is_kept_for_its_time_and_then_gone(self, make_store: MakeStore) -> None:
        store = make_store(TaskSettings(retention_seconds=0.3))
        head = new_head(tags=("brief",))
        log = self.make_log(store)
        holds = store.holds_log(log)
        store.create(head, record=new_record(head) if holds else None, push=None)
        claim = claimed(store, head)
        store.advance(claim, commit_of(claim, None))

        def gone() -> bool:
            store.look()
            return store.get(head.run_id) is None

        assert not gone()
        self.eventually(gone)
        assert store.find().items == store.find(RunQuery(tag="brief")).items == ()
        assert not holds or log.latest(head.run_id) is None
