"""Every store that comes with Milepost keeps the one contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
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


class Opened(CheckpointStoreContract):
    """A store that other processes can open, too."""

    @pytest.fixture
    def store(self, address: str) -> Iterator[CheckpointStore]:
        with open_store(address) as store:
            yield store


class TestRedis(Opened):
    @pytest.fixture
    def address(self, redis_url: str) -> str:
        return redis_url


class TestFile(Opened):
    @pytest.fixture
    def address(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}/checkpoints"


class TestSQLite(Opened):
    @pytest.fixture
    def address(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/checkpoints.db"


class TestPostgreSQL(Opened):
    @pytest.fixture
    def address(self, postgres_url: str) -> str:
        return postgres_url


class TestS3OnSeaweedFS(Opened):
    @pytest.fixture
    def address(self, seaweed_server: SeaweedServer) -> str:
        return store_url(seaweed_server.endpoint, f"tests/{uuid4().hex}")


class TestS3OnMoto(Opened):
    atomic_create = False

    @pytest.fixture
    def address(self, moto_server: MotoServer) -> str:
        return store_url(moto_server.endpoint, f"tests/{uuid4().hex}")


class TestRedisInFrontOfFiles(Opened):
    @pytest.fixture
    def address(self, redis_url: str, tmp_path: Path) -> str:
        return f"{redis_url}|file://{tmp_path}/checkpoints"


class TestRedisInFrontOfPostgreSQLAsync(Opened):
    @pytest.fixture
    def address(self, redis_url: str, postgres_url: str) -> str:
        return f"{redis_url}|{postgres_url}|async"


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
