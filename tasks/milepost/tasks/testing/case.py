"""What the aspects of the suite share: hooks for the store under test, and things to feed it."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import TypeAlias, TypeVar

import pytest

from milepost.checkpointing import CheckpointKey, CheckpointStore, Record
from milepost.checkpointing.ids import new_checkpoint_id, new_run_id

from ..head import Head, RunStatus
from ..runs.base import Bid, Claim, Commit, Intent, Landing, Next, Push, RunStore
from ..settings import TaskSettings
from ..transitions import ALLOWED, Command

MakeStore: TypeAlias = Callable[[TaskSettings], RunStore]
T = TypeVar("T")

QUEUE_KEY = "milepost-contract-queue"
_ordinals = count(1)


class RunStoreCase:
    """Hooks that a subclass gives; all stores that one test makes must be empty at its start."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Return a function that makes a store with the settings it is given."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, make_store: MakeStore) -> RunStore:
        """A store whose owners lapse only after a minute, so that no test outlives them."""
        return make_store(TaskSettings(heartbeat_lapse_seconds=60, max_crashes=2))

    @pytest.fixture
    def brisk(self, make_store: MakeStore) -> RunStore:
        """A store whose owners lapse as soon as settings allow."""
        return make_store(TaskSettings(heartbeat_lapse_seconds=2, max_crashes=2))

    def make_log(self, store: RunStore) -> CheckpointStore:
        """Return the checkpoint store that *store* can write to in the same operation."""
        raise NotImplementedError

    def messages(self, store: RunStore) -> list[str]:
        """Return the payloads that *store* pushed to `QUEUE_KEY`."""
        raise NotImplementedError

    def pass_time(self) -> None:
        """Turn the store's clock a little, if it does not go by itself."""

    def eventually(self, probe: Callable[[], T | None], seconds: float = 20.0) -> T:
        """Ask until the answer is something true, and return it."""
        end = time.monotonic() + seconds
        while not (answer := probe()):
            assert time.monotonic() < end, f"it did not happen within {seconds} s"
            self.pass_time()
        return answer

    def looked_at(self, store: RunStore, run_id: str) -> Head:
        """Look until the run wants a decision; return its head as the look gave it."""
        return self.eventually(
            lambda: next((head for head in store.look().heads if head.run_id == run_id), None)
        )


def new_head(
    run_id: str | None = None,
    *,
    pipeline: str = "orders",
    tags: tuple[str, ...] = (),
    time_limit_ms: int = 0,
) -> Head:
    """Return the head of a run that is about to be made."""
    run_id = run_id or new_run_id()
    return Head(
        run_id=run_id,
        pipeline=pipeline,
        version="1",
        digest="d1",
        stages_total=2,
        tags=tags,
        checkpoint_id=new_checkpoint_id(),
        at=CheckpointKey(run_id, 0).path,
        stage="first",
        queue="celery",
        time_limit_ms=time_limit_ms,
    )


def new_bid(owner: str = "ann", worker: str = "ann@host") -> Bid:
    """Return a bid with a nonce and an ordinal of its own."""
    ordinal = next(_ordinals)
    return Bid(owner, f"nonce-{ordinal}", ordinal, worker)


def new_push(payload: str) -> Push:
    """Return a message for `QUEUE_KEY`."""
    return Push(QUEUE_KEY, payload)


def new_record(head: Head, text: str = "input") -> Record:
    """Return a record for the current checkpoint of *head*."""
    return Record(head.key, f"header of {text}".encode(), f"body of {text}".encode())


def created(store: RunStore, head: Head | None = None, *, delay_ms: int = 0) -> Head:
    """Make a run and return its head as the store has it."""
    head = head or new_head()
    assert store.create(head, record=None, push=None, delay_ms=delay_ms) is None
    return read(store, head.run_id)


def read(store: RunStore, run_id: str) -> Head:
    """Return the head of a run that must be there."""
    head = store.get(run_id)
    assert head is not None
    return head


def claimed(store: RunStore, head: Head | None = None, bid: Bid | None = None) -> Claim:
    """Claim the step due, of a new run if none is given."""
    head = head or created(store)
    claim = store.claim(read(store, head.run_id).step, bid or new_bid())
    assert isinstance(claim, Claim), claim
    return claim


def commit_of(
    claim: Claim,
    following: str | None = "second",
    push: Push | None = None,
    bid: Bid | None = None,
) -> Commit:
    """Return the commit of a claim: the next stage is due, or the run has completed."""
    head = claim.head
    key = CheckpointKey(head.run_id, head.sequence + 1, head.timeline)
    return Commit(
        checkpoint_id=new_checkpoint_id(),
        path=key.path,
        sequence=key.sequence,
        timeline=key.timeline,
        following=Next(following, "celery") if following else None,
        status=RunStatus.COMPLETED,
        push=push,
        bid=bid,
    )


def cancelling(checkpoint_id: str) -> Intent:
    """Return the intent to cancel."""
    return Intent(checkpoint_id, RunStatus.CANCELLING, ALLOWED[Command.CANCEL])


def deleting(intent: str) -> Intent:
    """Return the intent to delete."""
    return Intent(intent, RunStatus.DELETING, ALLOWED[Command.DELETE])


def deleted(store: RunStore, run_id: str) -> RunStatus | None:
    """Delete a run; return the status that forbids it, None: it is gone."""
    begun, status = store.intend(run_id, deleting(new_checkpoint_id()))
    if not begun:
        return status
    assert store.delete(read(store, run_id))
    return None


def cancelled(checkpoint_id: str, path: str, record: Record | None = None) -> Landing:
    """Return the end of a cancelling."""
    return Landing(checkpoint_id, path, 1, RunStatus.CANCELLED, record=record)
