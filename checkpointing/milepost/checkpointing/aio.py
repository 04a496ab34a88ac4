"""The verbs of `milepost.checkpointing`, awaitable, for programs on asyncio.

Every call runs in a thread of asyncio's pool, so the loop goes on meanwhile. A call that is cancelled goes
on to its end there: a checkpoint is whole or not there, as ever. Blobs are streams, which block: take
`CheckpointManager.sync` for them, in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from inspect import iscoroutinefunction
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast
from urllib.parse import quote

from . import manager
from .config import CheckpointConfig
from .errors import Misconfigured
from .manager import logger
from .models import Checkpoint, CheckpointKey, CheckpointMetadata, Kind, Status
from .reader import Recovery
from .redis_connection import same_redis
from .settings import CheckpointSettings
from .stores import CheckpointStore, open_store
from .stores.file import FileCheckpointStore as _FileCheckpointStore
from .stores.memory import MemoryCheckpointStore as InMemoryCheckpointStore
from .stores.redis import RedisCheckpointStore as _RedisCheckpointStore
from .stores.s3 import S3CheckpointStore as _S3CheckpointStore
from .types import Types

__all__ = [
    "Checkpoint",
    "CheckpointConfig",
    "CheckpointKey",
    "CheckpointManager",
    "CheckpointMetadata",
    "CheckpointSettings",
    "CheckpointStore",
    "FileCheckpointStore",
    "InMemoryCheckpointStore",
    "Kind",
    "Recovery",
    "RedisCheckpointStore",
    "S3CheckpointStore",
    "Status",
    "Types",
    "open_store",
]

P = ParamSpec("P")
T = TypeVar("T")
Sync = manager.CheckpointManager


class FileCheckpointStore(_FileCheckpointStore):
    """The file store, by the path of its folder."""

    def __init__(
        self, path: str | PathLike[str], settings: CheckpointSettings | None = None
    ) -> None:
        folder = Path(path).expanduser().absolute()
        super().__init__(f"file://{quote(str(folder))}", settings)


class RedisCheckpointStore(_RedisCheckpointStore):
    """The Redis store, on the server that a client of redis-py is for, ``redis.asyncio`` included.

    The client itself is not used: the store's connections have Milepost's timeouts and retries. A client may
    decode replies, be busy, or be closed.

    Args:
        client: A client of one server; or the URL of one.
        prefix: What all keys begin with.
        ttl_seconds: A run is gone this long after the last write to it; None: never by itself.

    Raises:
        Misconfigured: It is no client of one server, or *ttl_seconds* is no time.
    """

    def __init__(
        self,
        client: Any,
        prefix: str = "",
        ttl_seconds: float | None = None,
        settings: CheckpointSettings | None = None,
    ) -> None:
        if isinstance(client, str):
            super().__init__(client, settings, prefix=prefix, ttl_seconds=ttl_seconds)
        else:
            location, own = same_redis(client, settings)
            self._open(location, own, prefix, ttl_seconds)


class S3CheckpointStore(_S3CheckpointStore):
    """The S3 store, by a client of boto3, which has the timeouts and retries that it was made with.

    Args:
        client: ``boto3.client("s3")``. One of aioboto3 does not serve: the calls are made in threads.

    Raises:
        Misconfigured: It is another client.
        Refused, Unavailable: As with a URL.
    """

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        if not hasattr(client, "put_object") or iscoroutinefunction(client.put_object):
            raise Misconfigured(
                f"{type(client).__name__} is no S3 client of boto3; expected boto3.client('s3')."
            )
        self._open(f"s3://{bucket}/{prefix.strip('/')}", client, bucket, prefix)

    def close(self) -> None:
        self._threads.shutdown(wait=False)


def _awaitable(
    method: Callable[Concatenate[Sync, P], T],
) -> Callable[Concatenate[CheckpointManager, P], Coroutine[Any, Any, T]]:
    @wraps(method)
    async def call(self: CheckpointManager, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(method, self.sync, *args, **kwargs)

    return cast("Callable[Concatenate[CheckpointManager, P], Coroutine[Any, Any, T]]", call)


class CheckpointManager:
    """`milepost.checkpointing.CheckpointManager` with the same arguments and methods, to be awaited."""

    def __init__(
        self,
        store: CheckpointStore | str,
        settings: CheckpointSettings | None = None,
        types: Types | None = None,
        config: CheckpointConfig | None = None,
    ) -> None:
        self.sync = Sync(store, settings, types, config)
        """The manager that does the work."""

    @property
    def store(self) -> CheckpointStore:
        """Where the checkpoints are."""
        return self.sync.store

    @property
    def config(self) -> CheckpointConfig:
        """When checkpoints are written and which are kept."""
        return self.sync.config

    @property
    def failed_cleanups(self) -> int:
        """How often the background cleanup has failed since the start."""
        return self.sync.failed_cleanups

    create = _awaitable(Sync.create)
    flush = _awaitable(Sync.flush)
    restore = _awaitable(Sync.restore)
    recover = _awaitable(Sync.recover)
    restore_from = _awaitable(Sync.restore_from)
    get = _awaitable(Sync.get)
    list_checkpoints = _awaitable(Sync.list_checkpoints)
    inspect = _awaitable(Sync.inspect)
    delete = _awaitable(Sync.delete)
    delete_run = _awaitable(Sync.delete_run)
    mark_completed = _awaitable(Sync.mark_completed)
    mark_failed = _awaitable(Sync.mark_failed)
    keep_failure = _awaitable(Sync.keep_failure)
    usage = _awaitable(Sync.usage)
    total_usage = _awaitable(Sync.total_usage)
    prune = _awaitable(Sync.prune)
    cleanup = _awaitable(Sync.cleanup)
    start = _awaitable(Sync.start)
    stop = _awaitable(Sync.stop)
    close = _awaitable(Sync.close)

    @asynccontextmanager
    async def failures_kept(self, run_id: str) -> AsyncIterator[None]:
        """Within the block, write an error checkpoint of whatever is raised, and let it go on."""
        try:
            yield
        except Exception as error:
            try:
                await self.keep_failure(run_id, error)
            except Exception:  # noqa: BLE001 - logged; what was raised goes on
                logger.exception("Run %s: its failure could not be kept.", run_id)
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
