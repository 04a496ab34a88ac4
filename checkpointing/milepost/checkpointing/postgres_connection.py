"""Opening a PostgreSQL database so that no call waits for ever."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

from sqlalchemy import URL, Engine, create_engine

from .errors import MissingExtra
from .settings import CheckpointSettings

T = TypeVar("T")

try:
    import psycopg
except ImportError:
    raise MissingExtra("A PostgreSQL database", "postgres") from None


def open_postgres(url: URL, settings: CheckpointSettings) -> Engine:
    """Return an engine for *url*; it connects at the first statement."""
    url = url.set(drivername="postgresql+psycopg")
    limit = settings.store_timeout_seconds

    class Patient(psycopg.Connection[Any]):
        """Gives up on a server that has stopped; its own timeouts stop with it, and TCP still acks."""

        def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
            return super().wait(_limited(self, gen, limit), *args, **options)

    options = {
        "connect_timeout": max(2, round(limit)),
        # Who is stopped or cut off in a transaction must not keep its rows locked.
        "options": f"-c statement_timeout={int(limit * 1000)} "
        f"-c idle_in_transaction_session_timeout={int(limit * 1000)} {url.query.get('options', '')}",
    }

    def connect() -> Any:
        args, kwargs = engine.dialect.create_connect_args(url)
        return Patient.connect(*args, **{**kwargs, **options})

    engine = create_engine(
        url,
        creator=connect,
        isolation_level="AUTOCOMMIT",
        execution_options={"preserve_rowcount": True},
        pool_size=8,
        max_overflow=24,
        pool_timeout=limit,
    )
    return engine


def _limited(
    connection: psycopg.Connection[Any], steps: Generator[Any, Any, T], limit_seconds: float
) -> Generator[Any, Any, T]:
    """Hand on what *steps* waits for, until it has waited for longer than *limit_seconds*."""
    end = time.monotonic() + limit_seconds + 1
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > end:
                connection.close()
                raise psycopg.OperationalError(f"no reply within {limit_seconds:g} s")
            wanted = steps.send(ready)
    except StopIteration as stopped:
        result: T = stopped.value
        return result
