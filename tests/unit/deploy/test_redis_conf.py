"""`redis.conf`, in a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from milepost.tasks import Milepost
from milepost.worker.checks.at_start import weaknesses
from support.deployment import DEPLOY
from support.redis_server import RedisServer

CONF = DEPLOY / "redis.conf"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A server told to lose everything, and then the file."""
    careless = ("--appendonly", "no", "--save", "3600 1", "--maxmemory-policy", "allkeys-lru")
    with RedisServer(*careless, "--include", str(CONF)) as server:
        yield server


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("no-appendfsync-on-rewrite", "no"),
        ("aof-load-truncated", "yes"),
        ("save", ""),
        ("maxmemory-policy", "noeviction"),
        ("timeout", "0"),
        ("tcp-keepalive", "60"),
        ("protected-mode", "yes"),
    ],
)
def test_the_server_takes_it(server: RedisServer, setting: str, value: str) -> None:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert client.config_get(setting) == {setting: value}


def test_every_setting_is_looked_at() -> None:
    """What the file sets, the test above asks for."""
    marks = getattr(test_the_server_takes_it, "pytestmark", [])
    asked = {values[0] for values in marks[0].args[1]}
    names = [line.split()[0] for line in CONF.read_text().splitlines() if line[:1] not in {"", "#"}]

    assert {*names} == asked


def test_a_worker_finds_no_weakness(server: RedisServer) -> None:
    app = Milepost(server.url)
    try:
        assert weaknesses(app) == []
    finally:
        app.close()


def test_the_user_may_do_what_milepost_does_and_no_more(tmp_path: Path) -> None:
    """The file's own example, without its comment signs."""
    conf = tmp_path / "redis.conf"
    text, count = re.subn(r"^# (user .*)$", r"\1", CONF.read_text(), flags=re.M)
    assert count == 2
    conf.write_text(text)
    with RedisServer("--include", str(conf)) as server:
        url = server.url.replace("//", "//milepost:PASSWORD@")
        app = Milepost(url)
        try:
            pipeline = app.pipeline("one")

            @pipeline.stage
            def go(state: dict[str, int]) -> dict[str, int]:
                return state

            run = pipeline.start({"a": 1}, run_id="allowed")
            run.cancel()
            assert run.status.name == "CANCELLED"
            # A worker asks, and would be let off if it were not allowed to.
            assert weaknesses(app) == []
        finally:
            app.close()
        with redis.Redis.from_url(url) as client:
            for command in ("FLUSHALL", "CONFIG SET save 1", "SHUTDOWN", "KEYS *", "ACL LIST"):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*command.split())
        with (
            redis.Redis.from_url(server.url) as nobody,
            pytest.raises(redis.exceptions.AuthenticationError),
        ):
            nobody.ping()
