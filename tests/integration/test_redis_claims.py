"""Claims in Redis: given by a script and read by the command after it, between which others may come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from milepost.checkpointing.redis_connection import prefix_of
from milepost.tasks.head import RunStatus
from milepost.tasks.runs import Advance, Claim, Refusal
from milepost.tasks.runs.redis import RedisRunStore
from milepost.tasks.testing.case import cancelling, claimed, commit_of, created, new_bid, read

Between = Callable[[Callable[[], object]], None]


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisRunStore]:
    with closing(RedisRunStore(redis_url)) as there:
        yield there


@pytest.fixture
def between(store: RedisRunStore, monkeypatch: pytest.MonkeyPatch) -> Between:
    """Let something happen, once, between the script and the reading of the head."""
    # The server has to know the scripts: else the first try brings nothing but that it does not.
    claim = claimed(store)
    store.advance(claim, commit_of(claim))
    send_all = store._scripts._send_all

    def put(happen: Callable[[], object]) -> None:
        def send(commands: Sequence[tuple[Any, ...]]) -> list[Any]:
            monkeypatch.setattr(store._scripts, "_send_all", send_all)
            first = send_all(commands[:1])
            happen()
            return first + send_all(commands[1:])

        monkeypatch.setattr(store._scripts, "_send_all", send)

    return put


@pytest.mark.fault("F56")
def test_who_is_cancelled_as_it_claims_has_no_claim(store: RedisRunStore, between: Between) -> None:
    head = created(store)
    between(lambda: store.intend(head.run_id, cancelling("c" * 32)))
    assert store.claim(head.step, new_bid()) is Refusal.PAUSED
    assert read(store, head.run_id).status is RunStatus.CANCELLING


def test_who_is_taken_for_dead_as_it_claims_claims_anew(
    store: RedisRunStore, between: Between
) -> None:
    head, bid = created(store), new_bid("ann")
    between(lambda: store.bury("ann", "leaving"))
    claim = store.claim(head.step, bid)
    assert isinstance(claim, Claim)
    assert claim.head == read(store, head.run_id)
    assert (claim.token, claim.head.attempt, claim.head.last_cause) == (2, 2, "leaving")


def test_a_burst_that_is_cancelled_as_it_goes_on_has_committed(
    store: RedisRunStore, between: Between
) -> None:
    claim = claimed(store)
    commit = replace(commit_of(claim), push=None, bid=new_bid())
    between(lambda: store.intend(claim.head.run_id, cancelling("c" * 32)))
    assert store.advance(claim, commit) is Advance.ADVANCED
    head = read(store, claim.head.run_id)
    assert (head.status, head.sequence) == (RunStatus.CANCELLING, 1)


def test_a_connection_may_speak_either_protocol(redis_url: str, store: RedisRunStore) -> None:
    for protocol in (2, 3):
        with closing(RedisRunStore(f"{redis_url}?protocol={protocol}")) as other:
            claim = claimed(other)
            assert claim.head == read(store, claim.head.run_id)


def test_a_stage_that_went_well_leaves_little_to_read(store: RedisRunStore) -> None:
    claim = claimed(store)
    assert store.advance(claim, commit_of(claim)) is Advance.ADVANCED
    head = read(store, claim.head.run_id)
    said = store.client.hgetall(f"{prefix_of(head.run_id)}run:{head.run_id}")
    assert not {b"failures", b"crashes", b"suspicions", b"trial", b"error"} & {*said}


def test_what_a_stage_went_through_is_over_with_its_commit(store: RedisRunStore) -> None:
    head = created(store)
    claimed(store, head, new_bid("ann"))
    store.bury("ann", "child")
    assert store.fail(claimed(store, head), '{"type": "ValueError"}', 0)
    store.look()
    claim = claimed(store, head)
    assert (claim.head.crashes, claim.head.failures) == (1, 1)
    assert store.advance(claim, commit_of(claim)) is Advance.ADVANCED
    now = read(store, head.run_id)
    assert (now.crashes, now.failures, now.error, now.trial, now.attempt) == (0, 0, "", 0, 0)
