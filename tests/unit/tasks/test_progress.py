"""Loops go on where they were saved, and save as often as they are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from milepost.checkpointing import InvalidName, Misconfigured
from milepost.tasks import Context
from milepost.tasks.errors import ClaimLost, HandBack
from milepost.tasks.progress import Progress


class Saves(list[Any]):
    def __call__(self, content: Any, done: int, total: int | None) -> None:
        self.append((deepcopy(content), done, total))


def context(
    progress: Progress,
    *,
    stopping: Any = lambda: False,
    cancelled: Any = lambda: False,
    **more: Any,
) -> Context:
    return Context(
        run_id="run",
        pipeline="p",
        stage="s",
        sequence=0,
        attempt=1,
        idempotency_key="k",
        log=logging.LoggerAdapter(logging.getLogger(), {}),
        _stopping=stopping,
        _cancelled=cancelled,
        _progress=progress,
        **more,
    )


def test_a_loop_saves_its_position_and_the_value_behind_each_item() -> None:
    saves, seen = Saves(), list[Any]()
    ctx = context(Progress(None, saves))
    for item in ctx.track("abc", every=0, value=seen):
        seen.append(item)
    assert [(content["positions"], content["value"]) for content, _, _ in saves] == [
        ({"items": 1}, ["a"]),
        ({"items": 2}, ["a", "b"]),
        ({"items": 3}, ["a", "b", "c"]),
    ]
    assert [(done, total) for _, done, total in saves] == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("make", [list, tuple, iter, lambda items: (item for item in items)])
def test_the_next_try_goes_on_behind_the_position(make: Any) -> None:
    saved = {"value": "so far", "positions": {"items": 2}}
    ctx = context(Progress(saved))
    assert ctx.progress == "so far"
    assert list(ctx.track(make("abcd"))) == ["c", "d"]
    assert list(ctx.track(make("abcd"), name="other")) == ["a", "b", "c", "d"]
    assert list(context(Progress({"positions": {"items": 9}})).track(make("abcd"))) == []


def test_a_sequence_is_not_read_from_its_beginning() -> None:
    assert list(context(Progress({"positions": {"items": 10**12}})).track(range(10**12 + 2))) == [
        10**12,
        10**12 + 1,
    ]


def test_nothing_is_saved_before_its_time() -> None:
    saves = Saves()
    ctx = context(Progress(None, saves))
    assert list(ctx.track(range(1000), every="1h")) == [*range(1000)]
    assert ctx.save("value", every="1h") is False
    assert saves == []
    assert ctx.progress == "value"
    assert ctx.save("now") is True
    assert saves[0][0]["value"] == "now"


def test_a_loop_that_is_told_to_stop_saves_and_hands_back() -> None:
    saves, seen = Saves(), list[Any]()
    ctx = context(Progress(None, saves), stopping=lambda: len(seen) >= 2)
    with pytest.raises(HandBack):
        list(iter_and_count(ctx, seen))
    assert saves[-1][0]["positions"] == {"items": 2}


def iter_and_count(ctx: Context, seen: list[Any]) -> Iterator[Any]:
    for item in ctx.track(range(9), every="1h"):
        seen.append(item)
    yield from ()


def test_a_loop_whose_claim_is_gone_ends() -> None:
    saves, seen = Saves(), list[Any]()
    ctx = context(Progress(None, saves), cancelled=lambda: len(seen) >= 2)
    with pytest.raises(ClaimLost):
        list(iter_and_count(ctx, seen))
    assert seen == [0, 1]
    assert saves == []


def test_two_loops_need_two_names() -> None:
    ctx = context(Progress())
    assert list(ctx.track([1, 2])) == [1, 2]
    with pytest.raises(Misconfigured, match="second loop named 'items'"):
        list(ctx.track([3, 4]))


def test_a_loops_name_keeps_the_rule() -> None:
    with pytest.raises(InvalidName):
        list(context(Progress()).track([1], name="a b"))


def test_a_coroutine_is_done_once_and_the_loop_goes_on() -> None:
    kept: dict[str, Any] = {}

    def once(name: str, work: Any) -> Any:
        if name not in kept:
            kept[name] = work()
        return kept[name]

    async def scene() -> list[Any]:
        ctx = context(Progress(), _once=once)
        calls = 0

        async def pay() -> str:
            nonlocal calls
            await asyncio.sleep(0)
            calls += 1
            return f"receipt {calls}"

        return [await ctx.once_async("pay", pay), await ctx.once_async("pay", pay)]

    assert asyncio.run(scene()) == ["receipt 1", "receipt 1"]
