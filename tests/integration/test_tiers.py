"""A real Redis in front of files: lost, sent back in time, or ahead of the other, and always right."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from milepost.checkpointing import (
    AlreadyExists,
    CheckpointKey,
    Misconfigured,
    Record,
    Unavailable,
    open_store,
)
from milepost.checkpointing.stores.file import FileCheckpointStore
from milepost.checkpointing.stores.redis import RedisCheckpointStore
from milepost.checkpointing.stores.tiered import TieredCheckpointStore
from milepost.checkpointing.testing import make_record
from support.redis_server import RedisServer
from support.waiting import eventually


class Cold(FileCheckpointStore):
    """A file store that can be away, and tells how often it was asked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"file://{folder}")
        self.is_away = False
        self.asked = 0
        self.meanwhile: Callable[[], object] = lambda: None
        self.after_reading: Callable[[], object] = lambda: None

    def _ask(self) -> None:
        self.asked += 1
        if self.is_away:
            raise Unavailable("The cold tier is away.")

    def put(self, record: Record) -> None:
        self._ask()
        super().put(record)
        self.meanwhile()

    def delete_run(self, run_id: str) -> int:
        self.meanwhile()
        return super().delete_run(run_id)

    def latest(self, *args: Any) -> Record | None:
        self._ask()
        found = super().latest(*args)
        after, self.after_reading = self.after_reading, lambda: None
        after()
        return found

    def get(self, key: CheckpointKey) -> Record:
        self._ask()
        return super().get(key)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer("--appendfsync", "always") as server:
        yield server


@pytest.fixture
def cold(tmp_path: Path) -> Cold:
    return Cold(tmp_path / "cold")


@pytest.fixture
def tiers(server: RedisServer, cold: Cold) -> Iterator[TieredCheckpointStore]:
    with TieredCheckpointStore(RedisCheckpointStore(server.url), cold) as store:
        yield store


@pytest.fixture
def eager(server: RedisServer, cold: Cold) -> Iterator[TieredCheckpointStore]:
    with TieredCheckpointStore(RedisCheckpointStore(server.url), cold, "async") as store:
        yield store


def test_what_was_put_is_in_both_and_read_from_the_hot_one(
    tiers: TieredCheckpointStore, cold: Cold
) -> None:
    tiers.put(make_record("run"))
    assert cold.latest("run") == make_record("run")
    asked = cold.asked
    assert tiers.latest("run") == make_record("run")
    assert tiers.get(CheckpointKey("run", 0)) == make_record("run")
    assert cold.asked == asked


@pytest.mark.fault("F25")
def test_a_hot_tier_that_was_emptied_is_filled_again(
    tiers: TieredCheckpointStore, cold: Cold, server: RedisServer
) -> None:
    for sequence in range(3):
        tiers.put(make_record("run", sequence))
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    assert tiers.latest("run") == make_record("run", 2)
    asked = cold.asked
    assert tiers.latest("run") == make_record("run", 2)
    assert cold.asked == asked
    assert tiers.get(CheckpointKey("run", 0)) == make_record("run", 0)
    with pytest.raises(AlreadyExists):
        tiers.put(make_record("run", 2, note="another"))


def test_a_hot_tier_that_went_back_in_time_is_found_out(
    tiers: TieredCheckpointStore, server: RedisServer, tmp_path: Path
) -> None:
    """As after a power cut, or when a replica that lagged was promoted."""
    tiers.put(make_record("run", 0))
    server.stop()
    shutil.copytree(server.folder, tmp_path / "before")
    server.start()
    for sequence in (1, 2):
        tiers.put(make_record("run", sequence))
    server.kill()
    shutil.rmtree(server.folder)
    shutil.copytree(tmp_path / "before", server.folder)
    server.start()
    assert tiers.latest("run") == make_record("run", 2)
    with pytest.raises(AlreadyExists):
        tiers.put(make_record("run", 1, note="again"))
    tiers.put(make_record("run", 3))
    assert [entry.key.sequence for entry in tiers.history("run").items] == [3, 2, 1, 0]


def test_a_cold_tier_that_is_away_is_waited_for_or_not(
    tiers: TieredCheckpointStore, cold: Cold
) -> None:
    tiers.put(make_record("run"))
    cold.is_away = True
    with pytest.raises(Unavailable):
        tiers.put(make_record("run", 1))
    with pytest.raises(Unavailable):
        tiers.latest("run")
    cold.is_away = False
    tiers.put(make_record("run", 1))
    assert cold.latest("run") == make_record("run", 1)


def test_a_put_that_does_not_wait_is_carried_over_later(
    eager: TieredCheckpointStore, cold: Cold
) -> None:
    eager.put(make_record("run"))
    cold.is_away = True
    for sequence in (1, 2):
        eager.put(make_record("run", sequence))
    assert eager.latest("run") == make_record("run", 2)
    cold.is_away = False
    eventually(lambda: len(FileCheckpointStore.history(cold, "run").items) == 3, 10)


@pytest.mark.fault("F42")
def test_what_a_dead_process_has_left_is_carried_over(server: RedisServer, cold: Cold) -> None:
    """It died between the two tiers; the next who asks for the run finds the record, and makes it safe."""
    script = (
        "import os, sys\n"
        "from milepost.checkpointing import open_store\n"
        "from milepost.checkpointing.stores.file import FileCheckpointStore\n"
        "from milepost.checkpointing.testing import make_record\n"
        "FileCheckpointStore.put = lambda self, record: os._exit(7)\n"
        "open_store(sys.argv[1]).put(make_record('run', 5))\n"
    )
    url = f"{server.url}|{cold.location}"
    done = subprocess.run([sys.executable, "-c", script, url], check=False)
    assert done.returncode == 7
    assert cold.latest("run") is None
    with open_store(url) as store:
        assert store.latest("run") == make_record("run", 5)
        assert cold.latest("run") == make_record("run", 5)


def test_all_that_waits_can_be_carried_over(eager: TieredCheckpointStore, cold: Cold) -> None:
    eager.put(make_record("run"))
    cold.is_away = True
    for run in range(30):
        with pytest.raises(Unavailable):
            eager.put(make_record(f"run-{run}"))
    cold.is_away = False
    for run in range(30):
        eager.put(make_record(f"run-{run}"))
    eager.carry_over()
    assert len(cold.runs().items) == 31


@pytest.mark.fault("F42")
def test_a_hot_tier_lost_in_the_middle_of_a_put_costs_nothing(
    tiers: TieredCheckpointStore, cold: Cold, server: RedisServer
) -> None:
    with redis.Redis.from_url(server.url) as client:
        cold.meanwhile = client.flushall
        tiers.put(make_record("run"))
    assert cold.latest("run") == make_record("run")
    assert tiers.latest("run") == make_record("run")


def test_a_run_that_is_read_while_it_is_deleted_does_not_come_back(
    tiers: TieredCheckpointStore, cold: Cold
) -> None:
    tiers.put(make_record("run"))
    cold.meanwhile = lambda: tiers.latest("run")
    assert tiers.delete_run("run") == 1
    cold.meanwhile = lambda: None
    assert tiers.latest("run") is None
    tiers.put(make_record("run", note="anew"))
    assert tiers.latest("run") == make_record("run", note="anew")


def test_what_was_read_before_a_deletion_is_not_copied_after_it(
    tiers: TieredCheckpointStore, cold: Cold, server: RedisServer
) -> None:
    tiers.put(make_record("run"))
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    cold.after_reading = lambda: tiers.delete_run("run")
    assert tiers.latest("run") is None
    assert tiers.latest("run") is None


def test_what_is_copied_back_goes_after_a_time_too(
    tiers: TieredCheckpointStore, server: RedisServer
) -> None:
    tiers.put(make_record("run"))
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        tiers.latest("run")
        assert client.keys("*:run")
        assert all(client.ttl(key) > 0 for key in client.keys("*:run"))


def test_two_lives_of_the_hot_tier_do_not_mix(
    eager: TieredCheckpointStore, cold: Cold, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A record that the cold tier has is not written over by one that a forgetful hot tier took."""
    eager.put(make_record("run", note="first"))
    eager.carry_over()
    hot = RedisCheckpointStore(server.url)
    hot.delete(CheckpointKey("run", 0))
    eager.put(make_record("run", note="second"))
    eager.carry_over()
    assert eager.latest("run") == make_record("run", note="first")
    assert cold.get(CheckpointKey("run", 0)) == make_record("run", note="first")
    eventually(lambda: "while that had lost another one" in caplog.text, 10)
    hot.close()


def test_copies_go_after_a_time_but_nothing_that_waits(
    eager: TieredCheckpointStore, cold: Cold, server: RedisServer
) -> None:
    eager.put(make_record("run"))
    eager.carry_over()
    with redis.Redis.from_url(server.url) as client:
        (key,) = client.keys("*log:bodies:run")
        assert 0 < client.ttl(key) <= 86400
        cold.is_away = True
        eager.put(make_record("run", 1))
        assert client.ttl(key) == -1
    cold.is_away = False


def test_reading_the_last_is_one_command(tiers: TieredCheckpointStore, server: RedisServer) -> None:
    tiers.put(make_record("run"))
    tiers.latest("run")  # Loads the script.
    with redis.Redis.from_url(server.url) as client:
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        tiers.latest("run")
        after = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert after - before == 1


@pytest.mark.parametrize("url", ["memory://|memory://", "redis://x|memory://|fast", "a|b|c|d"])
def test_tiers_that_cannot_be_are_refused(url: str) -> None:
    with pytest.raises(Misconfigured):
        open_store(url)


def test_the_location_shows_both_and_no_password(server: RedisServer, cold: Cold) -> None:
    url = server.url.replace("//", "//user:hidden@")
    with TieredCheckpointStore(RedisCheckpointStore(url), cold, "async") as store:
        assert store.location.endswith(f"|{cold.location}|async")
        assert "hidden" not in store.location
