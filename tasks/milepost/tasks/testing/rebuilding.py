"""Runs whose log is elsewhere: it is told what it cannot know, and heads come back from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ..head import Head, RunStatus
from ..query import RunQuery
from ..runs.base import Refusal, RunStore
from .case import RunStoreCase, claimed, created, deleted, new_bid, new_head, read


def elsewhere() -> Head:
    """Return the head of a run whose log is elsewhere."""
    return replace(new_head(), log_elsewhere=1)


class Rebuilding(RunStoreCase):
    """`mark` and `reinstate`."""

    @pytest.mark.parametrize("way", ["fail", "crash", "pause", "put off", "pause in mid-stage"])
    def test_who_stands_still_is_looked_at_until_the_log_knows(
        self, store: RunStore, way: str
    ) -> None:
        head = created(store, elsewhere())
        status = RunStatus.FAILED if way in ("fail", "crash") else RunStatus.PAUSED
        if way == "pause":
            store.pause(head.run_id)
        elif way == "crash":
            for owner in ("ann", "bob"):
                claimed(store, head, new_bid(owner))
                store.bury(owner, "child")
        else:
            claim = claimed(store, head)
            if way == "fail":
                store.fail(claim, "{}", None)
            elif way == "put off":
                store.put_off(claim.head, nonce=claim.nonce, delay_ms=None, error="{}", ran=True)
            else:
                store.pause(head.run_id)
                store.hand_back(claim, None)
        seen = self.looked_at(store, head.run_id)
        assert (seen.status, seen.marked) == (status, "")
        assert not any(other.run_id == head.run_id for other in store.look().heads), "it is leased"
        for _ in range(2):
            assert store.mark(seen)
        assert read(store, head.run_id).marked == status
        assert store.resume(seen)
        assert read(store, head.run_id).marked == ""

    def test_who_has_gone_on_is_not_marked(self, store: RunStore) -> None:
        head = created(store, elsewhere())
        store.pause(head.run_id)
        paused = read(store, head.run_id)
        assert store.resume(paused)
        assert not store.mark(paused)
        assert read(store, head.run_id).marked == ""
        assert not store.mark(replace(head, run_id="nobody"))

    def test_what_is_to_be_told_anew_is_looked_at_again(self, store: RunStore) -> None:
        head = created(store, elsewhere())
        store.pause(head.run_id)
        paused = read(store, head.run_id)
        assert store.mark(paused)
        for _ in range(2):
            assert store.unmark(paused)
        assert read(store, head.run_id).marked == ""
        assert self.looked_at(store, head.run_id).status is RunStatus.PAUSED
        assert store.resume(paused)
        assert not store.unmark(paused)

    def test_where_the_log_is_here_nobody_asks(self, store: RunStore) -> None:
        head = created(store)
        store.pause(head.run_id)
        other = self.looked_at(store, self._due(store))
        assert other.run_id != head.run_id
        assert not any(seen.run_id == head.run_id for seen in store.look().heads)

    def _due(self, store: RunStore) -> str:
        """Return a run that the next look returns: what is due before it has been returned then, too."""
        store.pause((head := created(store, elsewhere())).run_id)
        return head.run_id

    @pytest.mark.parametrize("status", ["queued", "paused", "failed"])
    def test_an_unfinished_run_comes_back(self, store: RunStore, status: str) -> None:
        head = replace(
            elsewhere(),
            status=RunStatus(status),
            marked="" if status == "queued" else status,
            token=1 << 20,
            sequence=3,
            timeline=2,
            tags=("red",),
            error='{"type": "E"}',
        )
        for _ in range(2):
            assert store.reinstate(head)
        assert not store.reinstate(replace(head, token=2 << 20))
        there = read(store, head.run_id)
        assert (there.status, there.token, there.sequence) == (head.status, head.token, 3)
        assert there.created_at > 0
        for found in (
            store.find(RunQuery.of(head.status)),
            store.find(RunQuery(tag="red")),
            store.find(RunQuery(pipeline=head.pipeline)),
        ):
            assert [item.run_id for item in found.items] == [head.run_id]
        if status == "queued":
            assert self.looked_at(store, head.run_id).published_at == 0
            assert claimed(store, there).token == (1 << 20) + 1
        else:
            assert store.claim(there.step, new_bid()) in (Refusal.PAUSED, Refusal.FINISHED)
            assert store.resume(there)
            assert read(store, head.run_id).status is RunStatus.QUEUED

    @pytest.mark.parametrize("status", ["completed", "cancelled"])
    def test_an_ended_run_comes_back(self, store: RunStore, status: str) -> None:
        head = replace(elsewhere(), status=RunStatus(status), stage="")
        assert store.reinstate(head)
        there = read(store, head.run_id)
        assert (there.status, there.finished_at > 0) == (head.status, True)
        assert deleted(store, head.run_id) is None

    def test_a_run_that_is_there_is_left_alone(self, store: RunStore) -> None:
        head = created(store)
        assert not store.reinstate(replace(head, status=RunStatus.COMPLETED, token=1 << 20))
        assert read(store, head.run_id).status is RunStatus.QUEUED
