"""SQL stores on real databases: statements counted, servers that stop, die and refuse."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from milepost.checkpointing import (
    CheckpointSettings,
    Misconfigured,
    Refused,
    Unavailable,
    open_store,
)
from milepost.checkpointing.testing import make_record
from support.postgres_server import PostgresServer
from support.user import unprivileged
from support.waiting import eventually

IMPATIENT = CheckpointSettings(store_timeout_seconds=0.5, store_retries=0)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of the test's own, which logs every statement."""
    with PostgresServer("-c", "log_statement=all") as server:
        yield server


def statements(server: PostgresServer) -> list[str]:
    return re.findall(r"LOG:  (?:statement|execute [^:]*): (\w+)", server.log)


def test_a_put_to_postgresql_is_one_statement_however_much_is_kept(server: PostgresServer) -> None:
    with open_store(server.url) as store:
        for kept in range(101):
            before = len(statements(server)) if kept in (10, 100) else 0
            store.put(make_record("run", kept))
            if before:
                assert statements(server)[before:] == ["INSERT"], f"with {kept} kept"


@pytest.mark.fault("F34")
def test_a_stopped_postgresql_is_unavailable_and_not_waited_for_for_ever(
    server: PostgresServer,
) -> None:
    with open_store(server.url, IMPATIENT) as store:
        store.put(make_record("run"))
        server.signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="no reply within"):
            store.latest("run")
        assert time.monotonic() - began < 30
        server.signal(signal.SIGCONT)
        assert store.latest("run") == make_record("run")


@pytest.mark.fault("F34")
def test_a_killed_postgresql_keeps_what_was_put(server: PostgresServer) -> None:
    with open_store(server.url, IMPATIENT) as store:
        store.put(make_record("run"))
        server.kill()
        with pytest.raises(Unavailable, match="Is it running"):
            store.put(make_record("run", 1))
        server.start()
        # Its connections are dead; who has no retries left learns of it once.
        with suppress(Unavailable):
            store.put(make_record("run", 1))
        store.put(make_record("run", 1))
        assert store.latest("run") == make_record("run", 1)
        assert len(store.history("run").items) == 2


@pytest.mark.fault("F43")
def test_a_role_without_rights_is_refused(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS stranger")
        connection.execute("CREATE ROLE stranger LOGIN PASSWORD 'hidden'")
    stranger = postgres_url.replace("postgres@", "stranger:hidden@")
    with pytest.raises(Refused, match="permission denied") as caught:
        open_store(stranger)
    assert "hidden" not in str(caught.value)
    with open_store(postgres_url) as store:
        store.put(make_record("run"))
    with pytest.raises(Refused, match="permission denied") as caught:
        open_store(stranger)
    assert "hidden" not in f"{caught.value!r}"


@pytest.mark.fault("F43")
def test_a_database_that_is_not_there_is_refused(postgres_url: str) -> None:
    with pytest.raises(Refused, match="does not exist"):
        open_store(postgres_url.replace("/postgres", "/nowhere"))


def test_no_server_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="Is it running"):
        open_store("postgresql://somebody:hidden@127.0.0.1:1/x", IMPATIENT)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_many_may_make_the_tables_at_once(kind: str, request: pytest.FixtureRequest) -> None:
    url = _url(kind, request)

    def use(number: int) -> None:
        with open_store(url) as store:
            store.put(make_record(f"run-{number}"))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(use, range(8)))
    with open_store(url) as store:
        assert len(store.runs().items) == 8


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_tables_of_a_newer_release_are_left_alone(
    kind: str, request: pytest.FixtureRequest
) -> None:
    url = _url(kind, request)
    open_store(url).close()
    change = "UPDATE milepost_schema SET version = 99 WHERE component = 'checkpoints'"
    if kind == "sqlite":
        with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
            database.execute(change)
    else:
        with psycopg.connect(url) as connection:
            connection.execute(change)
    with pytest.raises(Refused, match="schema 99; this Milepost knows 1"):
        open_store(url)


@pytest.mark.fault("F35")
def test_a_locked_sqlite_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.db"
    with open_store(f"sqlite:///{path}", IMPATIENT) as store:
        store.put(make_record("run"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            store.put(make_record("run", 1))
        assert store.latest("run") == make_record("run")
        other.execute("ROLLBACK")
        other.close()
        store.put(make_record("run", 1))


def test_what_is_no_sqlite_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear database, " * 100)
    with pytest.raises(Refused, match="not a database"):
        open_store(f"sqlite:///{path}")
    assert path.read_text() == "Dear database, " * 100


@pytest.mark.fault("S15")
def test_a_sqlite_database_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "made" / "checkpoints.db"
    open_store(f"sqlite:///{path}").close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    if os.getuid() == 0:
        with unprivileged(), pytest.raises(Refused, match="Permission denied"):
            open_store(f"sqlite:///{path}")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="keeps nothing"):
        open_store(url)


def _url(kind: str, request: pytest.FixtureRequest) -> str:
    if kind == "sqlite":
        return f"sqlite:///{request.getfixturevalue('tmp_path')}/checkpoints.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.mark.fault("F34")
def test_a_connection_that_is_cut_is_made_again(server: PostgresServer) -> None:
    """Between two statements, and in the midst of one; no record is written by halves or twice."""
    with open_store(server.url) as store, psycopg.connect(server.url, autocommit=True) as other:
        cut = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        for sequence in range(5):
            store.put(make_record("run", sequence))
            (gone,) = other.execute(cut).fetchone() or (0,)
            assert gone >= 1
        with psycopg.connect(server.url) as blocker, ThreadPoolExecutor(1) as thread:
            blocker.execute("LOCK TABLE milepost_records IN ACCESS EXCLUSIVE MODE")
            waiting = thread.submit(store.put, make_record("run", 5))
            blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            eventually(lambda: (other.execute(blocked).fetchone() or (0,))[0] == 1)
            other.execute(cut + " AND wait_event_type = 'Lock'")
            blocker.rollback()
            waiting.result(20)
        assert [entry.key.sequence for entry in store.history("run").items] == [5, 4, 3, 2, 1, 0]


WRITER = """
import sys
from itertools import count
from milepost.checkpointing import open_store
from milepost.checkpointing.testing import make_record

store = open_store(sys.argv[1])
for sequence in count(int(sys.argv[2])):
    store.put(make_record("run", sequence, body=b"x" * 300_000))
    print(sequence, flush=True)
"""


@pytest.mark.fault("F35")
def test_processes_killed_while_they_write_leave_a_sound_sqlite(tmp_path: Path) -> None:
    """With its WAL beside it: what was acknowledged is there, and nothing by halves."""
    path, first = tmp_path / "checkpoints.db", 0
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, f"sqlite:///{path}", str(first)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(3)][-1]
        writer.kill()
        writer.communicate()
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        with open_store(f"sqlite:///{path}") as store:
            entries = store.history("run", limit=1000).items
            numbers = [entry.key.sequence for entry in entries]
            assert numbers == [*range(numbers[0], -1, -1)]
            assert numbers[0] >= acknowledged
            for entry in entries[:5]:
                assert store.get(entry.key).body == b"x" * 300_000
        first = numbers[0] + 1
