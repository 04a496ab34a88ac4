"""Heads in Redis: what they do not say is what a head says by default, in Python and in the scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from importlib.resources import files
from typing import Any

import pytest

from milepost.checkpointing.redis_connection import prefix_of
from milepost.tasks.head import Head
from milepost.tasks.runs.redis import RedisRunStore
from milepost.tasks.testing.case import claimed, commit_of, created, read


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisRunStore]:
    with closing(RedisRunStore(redis_url)) as there:
        yield there


def _key(head: Head) -> str:
    return f"{prefix_of(head.run_id)}run:{head.run_id}"


def test_scripts_and_heads_agree_on_what_is_not_written() -> None:
    lua = (files("milepost.tasks.runs") / "redis_scripts" / "_head.lua").read_text()
    table = lua.partition("local DEFAULTS = {")[2].partition("}")[0]
    # A run without a status is none, which a head cannot say.
    said = dict(re.findall(r"(\w+) = '(.+?)'", table)) | {"status": "queued"}
    plain = Head("run", "orders", "1", "d", 2).to_fields()
    by_default = {field.name for field in fields(Head)} - {
        *("run_id", "pipeline", "version", "digest", "stages_total")
    }
    assert said == {name: plain[name] for name in by_default if plain[name]}


def test_a_new_head_takes_no_place_for_what_it_does_not_say(store: RedisRunStore) -> None:
    written = store.client.hgetall(_key(created(store)))
    assert not {b"", b"0", b"[]", b"main"} & {*written.values()}


def test_a_head_of_an_earlier_release_moves_as_one_of_this(store: RedisRunStore) -> None:
    """Those said everything."""
    lean, full = created(store), created(store)
    said: dict[Any, Any] = {**full.to_fields()}
    store.client.hset(_key(full), mapping=said)
    assert read(store, full.run_id) == full
    ends = []
    for head in (lean, full):
        claim = claimed(store, head)
        assert store.fail(claim, '{"type": "ValueError"}', 0)
        store.look()
        claim = claimed(store, head)
        assert store.spend(claim, '{"usd": 1}', kept=False)
        assert store.advance(claim, commit_of(claim, following=None)) == "advanced"
        ends.append(read(store, head.run_id))
    own = {"run_id", "checkpoint_id", "at", "nonce", "last_nonce", "worked_ms", "wasted_ms"}
    for field in fields(Head):
        if field.name not in own and not field.name.endswith("_at"):
            assert getattr(ends[0], field.name) == getattr(ends[1], field.name), field.name
