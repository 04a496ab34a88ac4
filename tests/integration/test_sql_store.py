"""SQL stores on real databases: statements counted, servers that stop, die and refuse."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
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
