"""Redis URLs, the names of its errors, and passwords that never show."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator

import pytest
import redis

from milepost.checkpointing import (
    CheckpointError,
    CheckpointSettings,
    Misconfigured,
    Refused,
    Unavailable,
    open_store,
)
from milepost.checkpointing.redaction import redacted
from milepost.checkpointing.redis_connection import (
    ALL_PREFIXES,
    SHARDS,
    open_redis,
    prefix_of,
)
from milepost.checkpointing.stores.redis import RedisCheckpointStore
from milepost.checkpointing.testing import make_record
from support.ports import free_port
from support.redis_server import RedisServer

FAST = CheckpointSettings(store_timeout_seconds=1, store_retries=0)

SECRET_URLS = [
    "redis://:hunter2@host.invalid:6379/0",
    "redis://user:hunter2@host.invalid/0",
    "rediss://user:hunter2@host.invalid",
    "redis://user:hunter2@",
    "redis://:pre@hunter2@host.invalid/0",
    "redis://:pre:hunter2@host.invalid/0",
    "redis://:pre/hunter2@host.invalid/0",
    "redis://:pre?hunter2@host.invalid/0",
    "redis://:pre#hunter2@host.invalid/0",
    "redis://:hunter2/post@host.invalid/0",
    "redis://us%40er:hunter2@host.invalid/0",
    "REDIS://user:hunter2@host.invalid",
    "redis://:hunter2@[::1]:6379/0",
    "redis://host.invalid/0?password=hunter2",
    "redis://host.invalid/0?db=1&PASSWORD=hunter2&x=1",
    "redis://host.invalid/0?ssl_password=hunter2",
    "redis://host.invalid/0?password=pre@hunter2",
    "unix://:hunter2@/run/redis.sock",
    "unix://user:hunter2@/run/redis.sock?db=1",
    "unix:///run/redis.sock?password=hunter2",
    "redis+socket://:hunter2@/run/redis.sock?virtual_host=1",
    "redis+socket:///run/redis.sock?password=hunter2",
    "s3://KEY:hunter2@bucket/prefix",
    "s3://KEY:pre/hunter2+@bucket/prefix",
    "s3://KEY:hunter2@bucket/p?endpoint_url=http://h:1",
    "s3://bucket/p?endpoint_url=http://KEY:hunter2@h:1",
    "s3://bucket/p?endpoint_url=http%3A%2F%2FKEY%3Ahunter2%40h%3A1",
    "s3://bucket/p?aws_secret_access_key=hunter2",
    "s3://bucket/p?aws_session_token=hunter2",
    "ftp://user:hunter2@host.invalid/",
    "amqp://user:hunter2@host.invalid//",
    "redis://:hunter2@host.invalid:notaport/0",
    "redis://:hunter2@[broken/0",
    "sentinel://:hunter2@a:1;sentinel://:hunter2@b:2",
]


@pytest.mark.fault("S10")
@pytest.mark.parametrize("url", SECRET_URLS)
def test_a_password_never_shows(url: str) -> None:
    assert "hunter2" not in redacted(url)
    assert "hunter2" not in redacted(f"Error 111 connecting to {url} (refused)")


@pytest.mark.parametrize("url", SECRET_URLS)
def test_a_password_never_shows_in_the_error_of_a_bad_url(url: str) -> None:
    if url.startswith("s3://"):
        url = f"{url}&bad=1" if "?" in url else f"{url}?bad=1"
    with pytest.raises((Misconfigured, CheckpointError)) as caught, open_store(url, FAST) as store:
        store.latest("run")
    assert "hunter2" not in "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "memory://",
        "redis://host:6379/0",
        "redis://user@host/0",
        "redis://[::1]:6379/0?db=3",
        "unix:///run/redis.sock?db=1",
        "s3://bucket/prefix?endpoint_url=http://127.0.0.1:9000",
    ],
)
def test_a_url_without_password_is_shown_whole(url: str) -> None:
    assert redacted(url) == url


def test_what_is_shown_still_names_the_server() -> None:
    assert redacted("redis://user:hunter2@host:6379/3") == "redis://user:***@host:6379/3"
    assert redacted("redis://:hunter2@host/0") == "redis://:***@host/0"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:6379",
        "http://host",
        "redis:/host",
        "redis://host:notaport/0",
        "redis://host:99999999/0",
        "redis://[::1/0",
        "redis://host/0?nonsense=1",
        "redis://host/0?socket_timeout=soon",
    ],
)
def test_a_url_that_cannot_work_is_misconfigured(url: str) -> None:
    with pytest.raises(Misconfigured):
        open_redis(url, FAST)
    if not url.startswith("redis"):
        with pytest.raises(Misconfigured):
            open_store(url, FAST)


@pytest.mark.parametrize(
    ("url", "path", "database", "password"),
    [
        ("redis+socket:///run/redis.sock", "/run/redis.sock", 0, None),
        ("redis+socket:///run/a b.sock?virtual_host=3", "/run/a b.sock", 3, None),
        ("redis+socket://:p%40w@/run/r.sock?virtual_host=1", "/run/r.sock", 1, "p@w"),
        ("unix://:pw@/run/r.sock?db=2", "/run/r.sock", 2, "pw"),
    ],
)
def test_celerys_and_redis_pys_socket_urls_are_understood(
    url: str, path: str, database: int, password: str | None
) -> None:
    with open_redis(url) as client:
        options = client.connection_pool.connection_kwargs
    assert options["path"] == path
    assert int(options.get("db", 0)) == database
    assert options.get("password") == password


@pytest.mark.fault("F30")
def test_a_server_that_is_down_is_unavailable_and_named_without_password() -> None:
    port = free_port()
    with open_store(f"redis://user:hunter2@127.0.0.1:{port}/0", FAST) as store:
        for call in (
            lambda: store.put(make_record("run")),
            lambda: store.get(make_record("run").key),
            lambda: store.latest("run"),
            lambda: store.history("run"),
            lambda: store.delete(make_record("run").key),
            lambda: store.delete_run("run"),
            lambda: store.expire_run("run", None),
            lambda: store.runs(),
        ):
            with pytest.raises(Unavailable) as caught:
                call()
            assert f"redis://user:***@127.0.0.1:{port}/0" in str(caught.value)
            assert "hunter2" not in "".join(traceback.format_exception(caught.value))
            assert caught.value.__cause__ is not None
    with pytest.raises(Unavailable) as caught, store:
        store.latest("run")
    assert caught.value.run_id == "run"


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    with RedisServer("--requirepass", "hunter2") as server:
        yield server


@pytest.mark.fault("F30")
def test_what_a_server_answers_is_named_by_what_to_do(own_server: RedisServer) -> None:
    url = own_server.url.replace("127.0.0.1", ":hunter2@127.0.0.1")
    with open_store(own_server.url, FAST) as store, pytest.raises(Refused):
        store.put(make_record("run"))
    with open_store(own_server.url.replace("127", "u:no@127", 1), FAST) as store:
        with pytest.raises(Refused) as caught:
            store.put(make_record("run"))
        assert ":no@" not in str(caught.value)
    with RedisCheckpointStore(url, FAST) as store, redis.Redis.from_url(url) as admin:
        store.put(make_record("run"))
        admin.config_set("maxmemory", "1")
        with pytest.raises(Unavailable):
            store.put(make_record("run", 1))
        admin.config_set("maxmemory", "0")
        admin.set("milepost:kept", "text")
        admin.config_set("min-replicas-to-write", "1")
        with pytest.raises(Unavailable):
            store.put(make_record("run", 1))
        admin.config_set("min-replicas-to-write", "0")
        admin.acl_setuser("default", commands=["-evalsha", "-eval"])
        with pytest.raises(Refused):
            store.put(make_record("run", 1))
        admin.acl_setuser("default", commands=["+@all"])
        admin.replicaof("127.0.0.1", "1")
        with pytest.raises(Unavailable):
            store.put(make_record("run", 1))
        admin.replicaof("NO", "ONE")
        store.put(make_record("run", 1))
        assert store.latest("run") == make_record("run", 1)


@pytest.mark.fault("F23")
def test_a_store_outlives_a_restart_of_its_server() -> None:
    with RedisServer("--appendfsync", "always") as server, open_store(server.url) as store:
        store.put(make_record("run"))
        server.kill()
        server.start()
        assert store.latest("run") == make_record("run")
        store.put(make_record("run", 1))
        with redis.Redis.from_url(server.url) as admin:
            admin.script_flush()
        store.put(make_record("run", 2))


@pytest.mark.fault("F31")
@pytest.mark.parametrize("call", ["script", "command"])
def test_a_server_that_vanishes_is_waited_for_as_often_as_said(
    monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Connecting again belongs to the tries of a call, and does not multiply them."""
    tries = 0

    def connect(_: redis.Connection) -> None:
        nonlocal tries
        tries += 1
        raise TimeoutError

    settings = CheckpointSettings(store_timeout_seconds=1, store_retries=2)
    with RedisServer() as server, RedisCheckpointStore(server.url, settings) as store:
        calls: dict[str, Callable[[], object]] = {
            "script": lambda: store.latest("run"),
            "command": lambda: store.client.echo("hello"),
        }
        calls[call]()
        with redis.Redis.from_url(server.url) as admin:
            admin.client_kill_filter(_type="normal", skipme=True)
        monkeypatch.setattr(redis.Connection, "_connect", connect)
        with pytest.raises((Unavailable, redis.TimeoutError)):
            calls[call]()
        assert tries <= 3


def test_the_layout_of_shards_never_changes() -> None:
    assert SHARDS == 16
    assert len(set(ALL_PREFIXES)) == 16
    assert prefix_of("run") == "milepost:{00}:"
    assert prefix_of("a") == "milepost:{03}:"
    assert {prefix_of(f"run-{n}") for n in range(500)} == set(ALL_PREFIXES)
