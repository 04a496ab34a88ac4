"""Calls of scripts: a reply belongs to its own call, whatever strikes in between."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from milepost.checkpointing.stores.redis import RedisCheckpointStore
from milepost.checkpointing.testing.records import make_record


@pytest.mark.fault("F10")
def test_an_interrupted_call_leaves_no_reply_to_the_next(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strike(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with RedisCheckpointStore(redis_url) as store:
        store.put(make_record("run", 0))
        with monkeypatch.context() as patched:
            # Between the command and its reply, where a time limit may strike too.
            patched.setattr(redis.Connection, "read_response", strike)
            with pytest.raises(KeyboardInterrupt):
                store.latest("run")
        store.put(make_record("run", 1))
        assert store.latest("run") == make_record("run", 1)
