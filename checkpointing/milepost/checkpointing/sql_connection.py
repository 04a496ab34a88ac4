"""How Milepost talks to SQL databases: URLs, timeouts, error names, transactions, schema versions."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .closing import Closing
from .errors import CheckpointError, Misconfigured, MissingExtra, Refused, Unavailable
from .redaction import redacted
from .redis_connection import read_url
from .settings import CheckpointSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData
    from sqlalchemy.exc import SQLAlchemyError

SCHEMES = frozenset({"sqlite", "postgresql", "postgres"})
T = TypeVar("T")
Upgrade: TypeAlias = "str | Callable[[Connection], None]"
"""A statement, or work in the same transaction."""

# Of the SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
_AGAIN = ("40001", "40P01")
_TRANSIENT = ("08", "53", "57", "58", "25006", "55P03", *_AGAIN)
_TRANSIENT_TEXT = ("locked", "busy", "disk is full", "disk i/o error")
_SCHEMA_LOCK = 0x6D696C65


class Database(Closing):
    """One database: an engine of SQLAlchemy, and work done in it whole or not at all.

    Work is repeated `store_retries` times after a broken connection or a deadlock, so it must bear being
    done again after its commit was not acknowledged.

    Args:
        url: ``sqlite:///path`` (relative; four slashes: absolute) or ``postgresql://user:pw@host/db``.

    Raises:
        MissingExtra: SQLAlchemy or psycopg is not installed.
        Misconfigured: The URL cannot be read, or names a database that lives in memory only.
    """

    def __init__(self, url: str, settings: CheckpointSettings | None = None) -> None:
        self._settings = settings or CheckpointSettings()
        self.location = redacted(url)
        scheme = read_url(url).scheme
        if scheme not in SCHEMES:
            raise Misconfigured(
                f"{self.location} is no SQL URL: expected sqlite:///path or postgresql://host/name."
            )
        self.is_sqlite = scheme == "sqlite"
        try:
            import sqlalchemy
        except ImportError:
            raise MissingExtra("A SQL database", "sql" if self.is_sqlite else "postgres") from None
        try:
            parsed = sqlalchemy.make_url(url)
        except sqlalchemy.exc.ArgumentError as error:
            raise Misconfigured(f"{self.location} is no SQL URL: {redacted(str(error))}") from None
        self.engine: Engine
        if self.is_sqlite:
            from .sqlite_connection import open_sqlite

            self.engine = open_sqlite(parsed, self._settings)
        else:
            from .postgres_connection import open_postgres

            self.engine = open_postgres(parsed, self._settings)

    def single(self, work: Callable[[Connection], T], run_id: str | None = None) -> T:
        """Do *work* that is one statement, which commits by itself."""
        return self._repeatedly(work, run_id)

    def transaction(self, work: Callable[[Connection], T], run_id: str | None = None) -> T:
        """Do *work* in one transaction.

        On SQLite there is one writer at a time; on PostgreSQL *work* locks the rows it decides by.
        """

        def whole(connection: Connection) -> T:
            # SQLite's deferred transactions fail when they turn to writing.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN")
            result = work(connection)
            connection.exec_driver_sql("COMMIT")
            return result

        return self._repeatedly(whole, run_id)

    def prepare(
        self,
        component: str,
        version: int,
        tables: MetaData,
        upgrades: Mapping[int, Sequence[Upgrade]] = MappingProxyType({}),
    ) -> None:
        """Make the tables of *component*, or bring older ones up to *version*; closed when this raises.

        Any number of processes may do so at once.

        Args:
            upgrades: The steps that lead to each version from the one before.

        Raises:
            Refused: A newer Milepost made them, or the database does not let us.
            Unavailable: It does not answer.
        """
        from sqlalchemy import inspect, text

        def stands(connection: Connection) -> int | None:
            if not inspect(connection).has_table("milepost_schema"):
                return None
            found = connection.execute(
                text("SELECT version FROM milepost_schema WHERE component = :component"),
                {"component": component},
            ).scalar()
            return None if found is None else int(found)

        def upgrade(connection: Connection, found: int) -> int:
            if found >= version:
                return found
            for step in range(found + 1, version + 1):
                for each in upgrades[step]:
                    if isinstance(each, str):
                        connection.execute(text(each))
                    else:
                        each(connection)
            tables.create_all(connection)
            for table in tables.tables.values():
                for index in table.indexes:
                    index.create(connection, checkfirst=True)
            connection.execute(
                text("UPDATE milepost_schema SET version = :version WHERE component = :component"),
                {"component": component, "version": version},
            )
            return version

        def make(connection: Connection) -> int:
            if not self.is_sqlite:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))
            if (found := stands(connection)) is not None:
                return upgrade(connection, found)
            connection.execute(
                text(
                    "CREATE TABLE IF NOT EXISTS milepost_schema "
                    "(component VARCHAR(64) PRIMARY KEY, version INTEGER NOT NULL)"
                )
            )
            tables.create_all(connection)
            connection.execute(
                text("INSERT INTO milepost_schema VALUES (:component, :version)"),
                {"component": component, "version": version},
            )
            return version

        try:
            found = self.single(stands) or 0
            if found < version:
                found = self.transaction(make)
        except CheckpointError:
            self.close()
            raise
        if found > version:
            self.close()
            raise Refused(
                f"The {component} in {self.location} have schema {found}; this Milepost knows "
                f"{version}. Upgrade Milepost."
            )

    def close(self) -> None:
        """Give back all connections."""
        self.engine.dispose()

    def _repeatedly(self, work: Callable[[Connection], T], run_id: str | None) -> T:
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        for attempt in range(self._settings.store_retries + 1):
            try:
                with self.engine.connect() as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                lost = isinstance(error, DBAPIError) and error.connection_invalidated
                again = lost or _state(error) in _AGAIN
                if not again or attempt == self._settings.store_retries:
                    raise self._named(error, run_id) from error
            time.sleep(random.uniform(0.01, 0.02) * 2**attempt)
        raise AssertionError("unreachable")

    def _named(self, error: SQLAlchemyError, run_id: str | None) -> CheckpointError:
        from sqlalchemy.exc import DBAPIError
        from sqlalchemy.exc import TimeoutError as PoolTimeout

        cause = error.orig if isinstance(error, DBAPIError) else error
        text = " ".join(redacted(str(cause)).split())
        state = _state(error)
        if isinstance(error, PoolTimeout) or (
            isinstance(error, DBAPIError)
            and (
                error.connection_invalidated
                or (state or "").startswith(_TRANSIENT)
                or (self.is_sqlite and any(word in text.lower() for word in _TRANSIENT_TEXT))
                or (not self.is_sqlite and state is None and _is_connecting(error))
            )
        ):
            return Unavailable(
                f"The database {self.location} does not answer ({text}). Is it running, and "
                "reachable from here?",
                run_id=run_id,
            )
        return Refused(f"The database {self.location} answered: {text}", run_id=run_id)


def _state(error: SQLAlchemyError) -> str | None:
    """Return the SQLSTATE of an error, where the server gave one."""
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def _is_connecting(error: Any) -> bool:
    """Whether no connection came about for another reason than who asks, and for what.

    libpq hands on no SQLSTATE of what fails then, only the server's words.
    """
    text = str(error.orig)
    return not any(
        word in text
        for word in ("authentication failed", "does not exist", "no pg_hba", "permission denied")
    )
