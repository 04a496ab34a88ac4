"""Every store that comes with Milepost keeps the one contract."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis

from milepost.checkpointing import CheckpointStore, open_store
from milepost.checkpointing.stores.memory import MemoryCheckpointStore
from milepost.checkpointing.stores.redis import RedisCheckpointStore
from milepost.checkpointing.testing import CheckpointStoreContract, make_record
from support.s3_server import MotoServer, SeaweedServer, store_url


class TestMemory(CheckpointStoreContract):
    @pytest.fixture
    def store(self) -> CheckpointStore:
        return MemoryCheckpointStore()


class TestRedis(CheckpointStoreContract):
    @pytest.fixture
    def store(self, redis_url: str) -> Iterator[CheckpointStore]:
        with open_store(redis_url) as store:
            yield store


class TestS3OnSeaweedFS(CheckpointStoreContract):
    @pytest.fixture
    def store(self, seaweed_server: SeaweedServer) -> Iterator[CheckpointStore]:
        with open_store(store_url(seaweed_server.endpoint, f"tests/{uuid4().hex}")) as store:
            yield store


class TestS3OnMoto(CheckpointStoreContract):
    atomic_create = False

    @pytest.fixture
    def store(self, moto_server: MotoServer) -> Iterator[CheckpointStore]:
        with open_store(store_url(moto_server.endpoint, f"tests/{uuid4().hex}")) as store:
            yield store


def test_a_put_to_redis_is_one_command_however_much_is_kept(redis_url: str) -> None:
    with RedisCheckpointStore(redis_url) as store, redis.Redis.from_url(redis_url) as watcher:
        kept = 0
        for target in (10, 1_000):
            while kept < target:
                store.put(make_record("run", kept))
                kept += 1
            store.client.ping()  # Its connection is another than the script's; open both before.
            with watcher.monitor() as monitor:
                store.put(make_record("run", kept))
                store.client.echo("done")
                kept += 1
                commands: list[str] = []
                for seen in monitor.listen():
                    if seen["command"].startswith("ECHO"):
                        break
                    if seen["client_type"] != "lua":
                        commands.append(seen["command"].split()[0])
            assert commands == ["EVALSHA"], f"with {target} kept"
