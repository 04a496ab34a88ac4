"""What a process believes of its claims."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from milepost.tasks.head import Head
from milepost.tasks.owner import Owner
from milepost.tasks.runs.base import Bid, Claim
from milepost.tasks.runs.memory import MemoryRunStore
from milepost.tasks.settings import TaskSettings
from milepost.tasks.testing.case import cancelling, claimed, created


class SlowStore(MemoryRunStore):
    """A store whose answer to a heartbeat is on its way while `meanwhile` happens."""

    meanwhile: Callable[[], object] | None = None

    def beat(self, owner: str, held: Collection[str], as_of: int, *, leaving: bool) -> set[str]:
        lost = super().beat(owner, held, as_of, leaving=leaving)
        if self.meanwhile is not None:
            self.meanwhile()
        return lost


@pytest.fixture
def store() -> SlowStore:
    # Too slow to beat by itself during a test.
    return SlowStore(TaskSettings(heartbeat_lapse_seconds=600))


@pytest.fixture
def owner(store: SlowStore, tmp_path: Path) -> Iterator[Owner]:
    owner = Owner(store, TaskSettings(heartbeat_lapse_seconds=600), tmp_path)
    yield owner
    owner.close()


def claim(store: SlowStore, owner: Owner, head: Head, bid: Bid) -> Claim:
    taken = claimed(store, head, bid)
    owner.confirm(bid)
    return taken


def test_a_claim_given_while_a_heartbeat_was_answered_is_not_lost(
    store: SlowStore, owner: Owner
) -> None:
    """The heartbeat named its nonce before the store knew it."""
    head, bid = created(store), owner.bid()
    store.meanwhile = lambda: claim(store, owner, head, bid)
    owner.beat()
    store.meanwhile = None

    assert not owner.has_lost(bid)
    owner.beat()
    assert not owner.has_lost(bid)


def test_a_claim_that_was_taken_away_is_lost(store: SlowStore, owner: Owner) -> None:
    head, bid = created(store), owner.bid()
    claim(store, owner, head, bid)
    store.intend(head.run_id, cancelling("c"))

    assert not owner.has_lost(bid), "nobody has told it"
    owner.beat()
    assert owner.has_lost(bid)


def test_a_bid_that_is_dropped_is_freed_by_the_next_heartbeat(
    store: SlowStore, owner: Owner
) -> None:
    """So a reply that was lost leaks no claim."""
    head, bid = created(store), owner.bid()
    claimed(store, head, bid)
    owner.drop(bid)
    owner.beat()

    claimed(store, head, owner.bid())


def test_after_a_lapse_without_an_answer_every_claim_must_be_taken_for_lost(
    store: SlowStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the process's own clock, before anyone else can have claimed."""
    now = 1_000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    owner = Owner(store, TaskSettings(heartbeat_lapse_seconds=600), tmp_path)
    head, bid = created(store), owner.bid()
    claim(store, owner, head, bid)
    now += 599
    assert not owner.has_lost(bid)
    now += 2
    assert owner.has_lost(bid)
    owner.beat()
    assert not owner.has_lost(bid)
    owner.close()
