"""What the network between a worker and its run store can do wrong, for every call there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, replace
from threading import Barrier
from typing import TypeAlias

import pytest

from milepost.checkpointing import CheckpointKey, Unavailable
from milepost.checkpointing.ids import new_checkpoint_id
from milepost.tasks import TaskSettings
from milepost.tasks.head import Head, RunStatus
from milepost.tasks.runs.base import Claim, Look, RunStore
from milepost.tasks.runs.redis import RedisRunStore
from milepost.tasks.testing.case import (
    QUEUE_KEY,
    cancelled,
    cancelling,
    claimed,
    commit_of,
    created,
    deleting,
    new_bid,
    new_head,
    new_push,
    read,
)
from support.redis_server import RedisServer
from support.tcp_proxy import TcpProxy
from support.waiting import eventually

TIMEOUT_S = 0.3
Prepared: TypeAlias = tuple[str, Callable[[RunStore], object]]
"""A run, and the same call for it each time it is made."""


def create(store: RunStore) -> Prepared:
    head, push = new_head(), new_push("go")
    return head.run_id, lambda far: far.create(head, record=None, push=push)


def claim(store: RunStore) -> Prepared:
    head, bid = created(store), new_bid()
    return head.run_id, lambda far: far.claim(head.step, bid)


def advance(store: RunStore) -> Prepared:
    held = claimed(store)
    commit = commit_of(held, push=new_push("go"))
    return held.head.run_id, lambda far: far.advance(held, commit)


def advance_and_claim(store: RunStore) -> Prepared:
    held = claimed(store)
    commit = commit_of(held, bid=new_bid())
    return held.head.run_id, lambda far: far.advance(held, commit)


def complete(store: RunStore) -> Prepared:
    held = claimed(store)
    commit = commit_of(held, None)
    return held.head.run_id, lambda far: far.advance(held, commit)


def save(store: RunStore) -> Prepared:
    held = claimed(store)
    return held.head.run_id, lambda far: far.save(held, path="at", progress="[1, 2]", record=None)


def spend(store: RunStore) -> Prepared:
    held = claimed(store)
    return held.head.run_id, lambda far: far.spend(held, '{"usd": 1.0}', kept=True)


def fail(store: RunStore) -> Prepared:
    held = claimed(store)
    return held.head.run_id, lambda far: far.fail(held, '{"type": "E"}', 60_000)


def set_aside(store: RunStore) -> Prepared:
    held = claimed(store)
    return held.head.run_id, lambda far: far.fail(held, '{"type": "E"}', None)


def hand_back(store: RunStore) -> Prepared:
    held = claimed(store)
    return held.head.run_id, lambda far: far.hand_back(held, new_push("go"))


def put_off(store: RunStore) -> Prepared:
    held = claimed(store)
    return held.head.run_id, lambda far: far.put_off(
        held.head, nonce=held.nonce, delay_ms=60_000, error='{"type": "E"}', ran=False
    )


def divert(store: RunStore) -> Prepared:
    held = claimed(store)
    return held.head.run_id, lambda far: far.divert(held)


def beat(store: RunStore) -> Prepared:
    bid = new_bid(new_checkpoint_id())
    held = claimed(store, bid=bid)
    return held.head.run_id, lambda far: far.beat(
        bid.owner, {bid.nonce}, bid.ordinal, leaving=False
    )


def beat_that_frees(store: RunStore) -> Prepared:
    bid = new_bid(new_checkpoint_id())
    held = claimed(store, bid=bid)
    return held.head.run_id, lambda far: far.beat(bid.owner, (), bid.ordinal, leaving=False)


def bury(store: RunStore) -> Prepared:
    bid = new_bid(new_checkpoint_id())
    held = claimed(store, bid=bid)
    return held.head.run_id, lambda far: far.bury(bid.owner, "child")


def look(store: RunStore) -> Prepared:
    head = resumable(store)
    store.resume(head)
    return head.run_id, lambda far: far.look()


def requeue(store: RunStore) -> Prepared:
    head = created(store)
    return head.run_id, lambda far: far.requeue(
        head, push=new_push("go"), published=True, patience_ms=60_000
    )


def pause(store: RunStore) -> Prepared:
    head = created(store)
    return head.run_id, lambda far: far.pause(head.run_id)


def resume(store: RunStore) -> Prepared:
    head = resumable(store)
    return head.run_id, lambda far: far.resume(head)


def retry(store: RunStore) -> Prepared:
    held = claimed(store)
    store.fail(held, '{"type": "E"}', None)
    head = read(store, held.head.run_id)
    return head.run_id, lambda far: far.resume(head)


def begin_to_cancel(store: RunStore) -> Prepared:
    head, intent = created(store), cancelling(new_checkpoint_id())
    return head.run_id, lambda far: far.intend(head.run_id, intent)


def cancel(store: RunStore) -> Prepared:
    head, checkpoint = created(store), new_checkpoint_id()
    store.intend(head.run_id, cancelling(checkpoint))
    head = read(store, head.run_id)
    path = CheckpointKey(head.run_id, 1).path
    return head.run_id, lambda far: far.settle(head, cancelled(checkpoint, path))


def delete(store: RunStore) -> Prepared:
    run_id = created(store).run_id
    store.intend(run_id, deleting(new_checkpoint_id()))
    head = read(store, run_id)
    return run_id, lambda far: far.delete(head)


def mark(store: RunStore) -> Prepared:
    head = resumable(store)
    return head.run_id, lambda far: far.mark(head)


def unmark(store: RunStore) -> Prepared:
    head = resumable(store)
    store.mark(head)
    return head.run_id, lambda far: far.unmark(head)


def reinstate(store: RunStore) -> Prepared:
    head = replace(new_head(), status=RunStatus.QUEUED, token=7)
    return head.run_id, lambda far: far.reinstate(head)


def set_budget(store: RunStore) -> Prepared:
    head = created(store)
    return head.run_id, lambda far: far.set_budget(head, '{"usd": 1}', "call")


def resumable(store: RunStore) -> Head:
    head = created(store)
    store.pause(head.run_id)
    return read(store, head.run_id)


CALLS: tuple[Callable[[RunStore], Prepared], ...] = (
    *(create, claim, advance, advance_and_claim, complete, save, spend, fail, set_aside),
    *(hand_back, put_off, divert, beat, beat_that_frees, bury, look, requeue, pause, resume),
    *(retry, begin_to_cancel, cancel, delete, mark, unmark, reinstate, set_budget),
)
AGAIN: dict[Callable[[RunStore], Prepared], object] = {
    create: "what stands",
    bury: [],
    look: [],
    requeue: False,
}
"""What is answered to a call that was done already, where that is not the same."""


ITS_OWN = {
    *("run_id", "checkpoint_id", "nonce", "last_nonce", "owner", "ordinal", "intent"),
    *("created_at", "updated_at", "finished_at", "published_at", "claimed_at", "kept_at"),
    *("worked_ms", "wasted_ms", "due_before"),
}
"""Names and times, which no two runs have in common."""


def opened(url: str, retries: int = 0) -> RedisRunStore:
    return RedisRunStore(
        url,
        TaskSettings(
            heartbeat_lapse_seconds=60, store_timeout_seconds=TIMEOUT_S, store_retries=retries
        ),
    )


@pytest.fixture
def near(redis_url: str) -> Iterator[RedisRunStore]:
    """The run store without anything in the way."""
    with closing(RedisRunStore(redis_url, TaskSettings(heartbeat_lapse_seconds=60))) as store:
        yield store


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[TcpProxy]:
    with TcpProxy(redis_server.port) as proxy:
        yield proxy


def where_it_stands(store: RunStore, run_id: str) -> dict[str, object] | None:
    """The head but for what is each run's own."""
    head = store.get(run_id)
    if head is None:
        return None
    return {name: value for name, value in asdict(head).items() if name not in ITS_OWN}


def in_brief(answer: object, run_id: str) -> object:
    """An answer but for names."""
    match answer:
        case Claim():
            return "a claim"
        case Head():
            return "what stands"
        case Look():
            return [head.run_id for head in answer.heads if head.run_id == run_id]
        case list():
            return ["the run" for each in answer if each == run_id]
    return answer


def undisturbed(
    prepare: Callable[[RunStore], Prepared], near: RedisRunStore, far: RunStore
) -> tuple[dict[str, object] | None, int, object]:
    """Where a call leads, how many messages it pushes, and what is answered to it when it was done.

    *far* has an open connection then.
    """
    run_id, call = prepare(near)
    answer = in_brief(call(far), run_id)
    pushed = near.client.llen(QUEUE_KEY)
    assert isinstance(pushed, int)
    return where_it_stands(near, run_id), pushed, AGAIN.get(prepare, answer)


@pytest.mark.fault("F33")
@pytest.mark.parametrize("prepare", CALLS, ids=lambda call: call.__name__)
def test_a_reply_that_does_not_come(
    redis_url: str,
    near: RedisRunStore,
    proxy: TcpProxy,
    prepare: Callable[[RunStore], Prepared],
) -> None:
    """What was asked for is done; asked for again, it comes to the same."""
    with closing(opened(proxy.url(redis_url))) as far:
        stands, pushed, answer = undisturbed(prepare, near, far)
        run_id, call = prepare(near)
        proxy.hold("replies")
        with pytest.raises(Unavailable):
            call(far)
        eventually(lambda: where_it_stands(near, run_id) == stands, what="the request's arrival")
        proxy.pass_on()
        assert in_brief(call(far), run_id) == answer
        assert where_it_stands(near, run_id) == stands
        assert near.client.llen(QUEUE_KEY) == 2 * pushed


@pytest.mark.fault("F33")
@pytest.mark.parametrize("prepare", CALLS, ids=lambda call: call.__name__)
def test_a_reply_that_is_cut(
    redis_url: str,
    near: RedisRunStore,
    proxy: TcpProxy,
    prepare: Callable[[RunStore], Prepared],
) -> None:
    """The store itself asks again, and nobody notices."""
    with closing(opened(proxy.url(redis_url), retries=1)) as far:
        stands, pushed, answer = undisturbed(prepare, near, far)
        run_id, call = prepare(near)
        proxy.cut_after(2)
        assert in_brief(call(far), run_id) == answer
        assert where_it_stands(near, run_id) == stands
        assert near.client.llen(QUEUE_KEY) == 2 * pushed


@pytest.mark.fault("F33")
def test_what_a_lost_look_has_shown_the_next_one_shows(
    redis_url: str, near: RedisRunStore, proxy: TcpProxy
) -> None:
    """When its lease is over."""
    with closing(opened(proxy.url(redis_url))) as far:
        undisturbed(look, near, far)
        run_id, call = look(near)
        proxy.hold("replies")
        with pytest.raises(Unavailable):
            call(far)
        eventually(lambda: run_id in [head.run_id for head in near.look().heads])


@pytest.mark.fault("F31")
@pytest.mark.parametrize("way", ["late", "half-open"])
def test_every_call_returns_in_time(
    redis_url: str, near: RedisRunStore, proxy: TcpProxy, way: str
) -> None:
    """A reply takes a second, or none comes over a connection that looks alive."""
    ready, go = Barrier(len(CALLS) + 1), Barrier(len(CALLS) + 1)

    def wait_in_vain(prepare: Callable[[RunStore], Prepared]) -> float:
        prepare(near)[1](far)
        call = prepare(near)[1]
        ready.wait(30)
        go.wait(30)
        begun = time.monotonic()
        with pytest.raises(Unavailable):
            call(far)
        return time.monotonic() - begun

    with (
        closing(opened(proxy.url(redis_url), retries=1)) as far,
        ThreadPoolExecutor(len(CALLS)) as pool,
    ):
        calls = [pool.submit(wait_in_vain, prepare) for prepare in CALLS]
        ready.wait(30)
        if way == "late":
            proxy.delay(1.0)
        else:
            proxy.hold()
        go.wait(30)
        waited = {p.__name__: call.result(30) for p, call in zip(CALLS, calls, strict=True)}
        # Two tries, the wait between them, and a machine that is busy.
        late = {name: seconds for name, seconds in waited.items() if seconds > 2 * TIMEOUT_S + 2}
        assert late == {}
        assert min(waited.values()) >= TIMEOUT_S
        proxy.pass_on()
        head = created(far)
        assert read(far, head.run_id) == read(near, head.run_id)
