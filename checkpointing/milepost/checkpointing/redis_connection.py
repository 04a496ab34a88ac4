"""How Milepost talks to Redis: URLs, timeouts, error names, shards and scripts."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qs, quote, urlsplit
from zlib import crc32

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.client import Pipeline
from redis.commands.core import Script
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry

from .errors import CheckpointError, Misconfigured, Refused, Unavailable
from .redaction import SECRETS, redacted
from .settings import CheckpointSettings

T = TypeVar("T")
SCHEMES = frozenset({"redis", "rediss", "unix", "redis+socket"})
SHARDS = 16
"""Everything of a run lies in one of this many hash slots. Part of the layout: never change."""

# What redis-py knows, it takes off the text and says by class; the rest stands in the text.
_TRANSIENT = (OutOfMemoryError, ReadOnlyError, MasterDownError, ClusterDownError, TryAgainError)
_TRANSIENT_TEXT = re.compile(r"(?:^|error: )(?:BUSY|MISCONF|NOREPLICAS|UNKILLABLE|LOADING)\b")

_IDENTITY = frozenset({"host", "port", "db", "path", "username", "password", "credential_provider"})
"""Of a client's connections: what says which server and database they go to, and as whom."""


def read_url(url: str) -> SplitResult:
    """Split *url*.

    Raises:
        Misconfigured: It cannot be read.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # Not chained: the text of the original may quote the password.
        raise Misconfigured(
            f"{redacted(url)} cannot be read as a URL. Special characters in a password must be "
            "percent-encoded."
        ) from None
    SECRETS.learn_url(url)
    return parts


def open_redis(url: str, settings: CheckpointSettings | None = None) -> redis.Redis:
    """Return a client for *url*; it connects at the first command.

    Understands redis-py's ``redis://``, ``rediss://`` and ``unix://`` and Celery's
    ``redis+socket:///path?virtual_host=0``. Broken connections are retried `store_retries` times
    with jitter, so every command sent through it must bear being repeated.

    Raises:
        Misconfigured: The URL has another scheme or cannot be read.
    """
    settings = settings or CheckpointSettings()
    parts = read_url(url)
    if parts.scheme not in SCHEMES:
        raise Misconfigured(
            f"{redacted(url)} is no Redis URL: expected redis://, rediss://, unix:// or "
            "redis+socket://."
        )
    if parts.scheme == "redis+socket":
        database = parse_qs(parts.query).get("virtual_host", ["0"])[0]
        credentials = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        url = f"unix://{credentials}{quote(parts.path)}?db={database}"
    try:
        client = redis.Redis.from_url(
            url,
            **_ours(settings),
        )
        # Connections are made late, and would complain late of an option they do not know.
        client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    except (ValueError, TypeError, RedisError) as error:
        raise Misconfigured(f"{redacted(url)} is no Redis URL: {error}") from error
    return client


def _ours(settings: CheckpointSettings) -> dict[str, Any]:
    """Return what all connections of ours have, because redis-py's defaults surprise."""
    return {
        "socket_timeout": settings.store_timeout_seconds,
        "socket_connect_timeout": settings.store_timeout_seconds,
        "health_check_interval": 30,
        "retry": _Tries(ExponentialWithJitterBackoff(base=0.02, cap=0.5), settings.store_retries),
    }


class _Tries(Retry):
    """The tries of a call, those of the connection it needs among them.

    Of themselves they multiply: each try of a command whose connection is lost connects as often again, and a
    host that is gone without a word takes a time-out each time.
    """

    _under_way = False

    def call_with_retry(self, do: Callable[[], T], *how: Any, **named: Any) -> T:
        # A connection has its own copy of this, and is used by one thread at a time.
        if self._under_way:
            return do()
        self._under_way = True
        try:
            # What else there is differs between the releases of redis-py.
            result: T = super().call_with_retry(do, *how, **named)
            return result
        finally:
            self._under_way = False


def same_redis(client: Any, settings: CheckpointSettings | None = None) -> tuple[str, redis.Redis]:
    """Return where *client* connects to, and a client of ours for that; it connects at the first command.

    Args:
        client: Of redis-py, blocking or asyncio, for one server.

    Raises:
        Misconfigured: It is another thing, or a client of a cluster.
    """
    pool = getattr(client, "connection_pool", None)
    kinds = {
        "Connection": ("redis", redis.Connection),
        "SSLConnection": ("rediss", redis.SSLConnection),
        "UnixDomainSocketConnection": ("unix", redis.UnixDomainSocketConnection),
    }
    name = getattr(getattr(pool, "connection_class", None), "__name__", "")
    if pool is None or name not in kinds:
        raise Misconfigured(
            f"{type(client).__name__} is no client of one Redis server; expected redis.Redis or "
            "redis.asyncio.Redis, or a URL."
        )
    scheme, kind = kinds[name]
    settings = settings or CheckpointSettings()
    given = {
        k: v for k, v in pool.connection_kwargs.items() if k in _IDENTITY or k.startswith("ssl_")
    }
    place = given.get("path") or f"{given.get('host', 'localhost')}:{given.get('port', 6379)}"
    own = redis.ConnectionPool(connection_class=kind, **given, **_ours(settings))
    return f"{scheme}://{place}/{given.get('db', 0)}", redis.Redis(connection_pool=own)


@contextmanager
def translated(location: str, run_id: str | None = None) -> Iterator[None]:
    """Raise the client's errors under the names of `errors`."""
    try:
        yield
    except (AuthenticationError, NoPermissionError) as error:
        raise Refused(f"Redis at {location} refused: {error}", run_id=run_id) from error
    except ResponseError as error:
        transient = isinstance(error, _TRANSIENT) or _TRANSIENT_TEXT.search(str(error))
        kind: type[CheckpointError] = Unavailable if transient else Refused
        raise kind(f"Redis at {location} answered: {error}", run_id=run_id) from error
    except (RedisError, OSError) as error:
        raise Unavailable(
            f"Redis at {location} does not answer ({redacted(str(error))}). Is it running, and "
            "reachable from here?",
            run_id=run_id,
        ) from error


def shard_prefix(shard: int) -> str:
    """Return what every key of a shard begins with; the braces are Redis Cluster's hash tag."""
    return f"milepost:{{{shard:02d}}}:"


def prefix_of(run_id: str) -> str:
    """Return what every key that has to do with *run_id* begins with."""
    return shard_prefix(crc32(run_id.encode()) % SHARDS)


ALL_PREFIXES = tuple(shard_prefix(shard) for shard in range(SHARDS))


class Scripts:
    """The Lua files of one store: a call is one round trip.

    Each thread keeps a connection for them. What redis-py does around a command beside sending it costs
    as much again, and calls are what a stage's speed rests on.

    Args:
        package: Whose folder ``redis_scripts`` has the files.
        shared: A file whose functions all others use.
    """

    def __init__(
        self, client: redis.Redis, package: str, *names: str, shared: str | None = None
    ) -> None:
        folder = files(package) / "redis_scripts"
        head = (folder / f"{shared}.lua").read_text() + "\n" if shared else ""
        self._scripts = {
            name: client.register_script(head + (folder / f"{name}.lua").read_text())
            for name in names
        }
        self._client = client
        self._own = threading.local()

    def call(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Call a script and return its reply, which has no type."""
        script = self._scripts[name]
        command = ("EVALSHA", script.sha, len(keys), *keys, *args)
        try:
            return self._send(command)
        except NoScriptError:
            # The server was restarted, or another one took its place.
            self._client.script_load(script.script)
            return self._send(command)

    def call_many(
        self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]
    ) -> list[Any]:
        """Call a script many times in one round trip and return the replies in order."""
        script = self._scripts[name]
        return self._all(
            script, [("EVALSHA", script.sha, len(keys), *keys, *args) for keys, args in calls]
        )

    def call_and_read(
        self, name: str, keys: Sequence[str], args: Sequence[Any]
    ) -> tuple[Any, dict[bytes, bytes]]:
        """Call a script, and read the hash that is its first key, in one round trip.

        A script that returned the hash itself would keep the server longer; but others may come between.
        """
        script = self._scripts[name]
        call = ("EVALSHA", script.sha, len(keys), *keys, *args)
        reply, found = self._all(script, [call, ("HGETALL", keys[0])])
        # A flat list where the connection speaks RESP2.
        return reply, found if isinstance(found, dict) else dict(
            zip(*[iter(found)] * 2, strict=True)
        )

    def _all(self, script: Script, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        try:
            return self._send_all(commands)
        except NoScriptError:
            self._client.script_load(script.script)
            return self._send_all(commands)

    def _send(self, command: tuple[Any, ...]) -> Any:
        return self._exchange(
            lambda connection: connection.send_command(*command),
            lambda connection: connection.read_response(),
        )

    def _send_all(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        def read(connection: Any) -> list[Any]:
            replies: list[Any] = []
            for _ in commands:
                try:
                    replies.append(connection.read_response())
                except ResponseError as error:
                    # The rest has to be read before anybody hears of it.
                    replies.append(error)
            for reply in replies:
                if isinstance(reply, ResponseError):
                    raise reply
            return replies

        return self._exchange(
            lambda connection: connection.send_packed_command(connection.pack_commands(commands)),
            read,
        )

    def _exchange(self, send: Callable[[Any], None], read: Callable[[Any], T]) -> T:
        lease = getattr(self._own, "lease", None)
        if lease is None:
            lease = self._own.lease = _Lease(self._client.connection_pool)
        connection = lease.connection

        def round_trip() -> T:
            send(connection)
            return read(connection)

        try:
            reply: T = connection.retry.call_with_retry(
                round_trip, lambda error: connection.disconnect()
            )
            return reply
        except ResponseError:
            raise
        except BaseException:
            # A time limit may strike between a command and its reply, which the next command would
            # then take for its own.
            connection.disconnect()
            self._own.lease = None
            raise

    def queue(self, pipe: Pipeline, name: str, keys: Sequence[str], args: Sequence[Any]) -> None:
        """Add a call to a pipeline."""
        self._scripts[name](keys=keys, args=args, client=pipe)


class _Lease:
    """A thread's connection; it goes back to the pool when the thread ends."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool
        self.connection: Any = pool.get_connection()

    def __del__(self) -> None:
        if hasattr(self, "connection"):
            self._pool.release(self.connection)
