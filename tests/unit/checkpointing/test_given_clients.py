"""Stores by a client that the caller has made."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import redis
import redis.asyncio

from milepost.checkpointing import Misconfigured, Refused
from milepost.checkpointing.aio import (
    CheckpointManager,
    RedisCheckpointStore,
    S3CheckpointStore,
)
from milepost.tasks.runs.redis import RedisRunStore
from support.s3_server import BUCKET, MotoServer, s3_client


@pytest.mark.parametrize("kind", [redis.Redis, redis.asyncio.Redis])
@pytest.mark.parametrize("decodes", [False, True])
def test_a_redis_client_says_where(redis_url: str, kind: Any, decodes: bool) -> None:
    store = RedisCheckpointStore(kind.from_url(redis_url, decode_responses=decodes), prefix="app:")

    async def scene() -> Any:
        async with CheckpointManager(store) as manager:
            await manager.create("run", {"step": 1})
            await manager.create("run", {"step": 2})
            assert await manager.restore("other") is None
            return await manager.restore("run")

    assert asyncio.run(scene()).state == {"step": 2}
    assert store.location.startswith("redis://127.0.0.1:")
    with redis.Redis.from_url(redis_url) as plain:
        assert all(key.startswith(b"app:milepost:") for key in plain.scan_iter())


def test_prefixes_keep_programs_apart(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    ours, theirs, bare = (RedisCheckpointStore(client, prefix) for prefix in ("a:", "b:", ""))

    async def scene() -> None:
        async with CheckpointManager(ours) as mine, CheckpointManager(theirs) as others:
            await mine.create("run", 1)
            await others.create("run", 2)
            for store in (ours, theirs):
                assert store.runs().items == ("run",)
            assert bare.runs().items == ()
            assert await mine.delete_run("run") == 1
            assert (await others.restore("run")).state == 2  # type: ignore[union-attr]

    asyncio.run(scene())
    runs = RedisRunStore(redis_url)
    assert [runs.holds_log(store) for store in (ours, bare)] == [False, True]
    runs.close()


def test_a_run_is_gone_a_while_after_the_last_write(redis_url: str) -> None:
    with RedisCheckpointStore(redis_url, ttl_seconds=3600) as store:
        manager = CheckpointManager(store)
        for count in range(2):
            asyncio.run(manager.create("run", count))
            at = store.expires_at("run")
            assert at is not None
            left = at - datetime.now(UTC)
            assert timedelta(seconds=3590) < left <= timedelta(seconds=3601)
            store.expire_run("run", datetime.now(UTC) + timedelta(seconds=60))


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 1e11])
def test_what_is_no_time_is_refused(redis_url: str, seconds: float) -> None:
    with pytest.raises(Misconfigured, match="ttl_seconds"):
        RedisCheckpointStore(redis_url, ttl_seconds=seconds)


@pytest.mark.parametrize("client", [object(), 7])
def test_what_is_no_client_is_refused(client: object) -> None:
    with pytest.raises(Misconfigured, match="no client of one Redis server"):
        RedisCheckpointStore(client)
    with pytest.raises(Misconfigured, match=r"no S3 client of boto3"):
        S3CheckpointStore(client, bucket="b")


def test_an_s3_client_stays_the_callers(moto_server: MotoServer) -> None:
    client, prefix = s3_client(moto_server.endpoint), uuid4().hex

    async def scene() -> None:
        async with CheckpointManager(S3CheckpointStore(client, BUCKET, f"{prefix}/")) as manager:
            await manager.create("run", {"step": 1})
            assert (await manager.restore("run")).state == {"step": 1}  # type: ignore[union-attr]

    asyncio.run(scene())
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/run!/")
    assert listed["KeyCount"] == 1
    with pytest.raises(Refused, match="NoSuchBucket"):
        S3CheckpointStore(client, "no-such-bucket")
    client.close()


def requests(client: Any) -> list[str]:
    made: list[str] = []
    client.meta.events.register("before-call.s3", lambda model, **_: made.append(model.name))
    return made


def test_requests_are_few(moto_server: MotoServer) -> None:
    """A checkpoint costs a GET (does the run expire?) and a PUT; the latest a LIST and a GET."""
    client = s3_client(moto_server.endpoint)
    manager = CheckpointManager(S3CheckpointStore(client, BUCKET, uuid4().hex)).sync
    manager.create("run", 0)
    made = requests(client)
    for kept in range(1, 4):
        manager.create("run", kept)
        assert made == ["GetObject", "PutObject"]
        made.clear()
    manager.restore("run")
    assert made == ["ListObjectsV2", "GetObject"]
    made.clear()
    assert manager.restore("nobody") is None
    assert made == ["ListObjectsV2"]
    made.clear()
    manager.store.expire_run("run", datetime.now(UTC) + timedelta(hours=1))
    made.clear()
    manager.restore("run")
    assert made == ["ListObjectsV2", "GetObject", "GetObject"]
    manager.close()
    client.close()
