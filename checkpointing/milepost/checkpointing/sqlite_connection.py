"""Opening a SQLite database so that what is committed stays, and writers wait for each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event

from .errors import Misconfigured, Refused
from .settings import CheckpointSettings


def open_sqlite(url: URL, settings: CheckpointSettings) -> Engine:
    """Return an engine for the file that *url* names, made with mode 0600 if it is not there.

    Raises:
        Misconfigured: The URL names no file.
        Refused: The file's folder cannot be made or written to.
    """
    if not url.database or url.database == ":memory:":
        raise Misconfigured(
            "sqlite:// without a file keeps nothing: write sqlite:///path, or memory:// for tests."
        )
    path = Path(url.database).expanduser().absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise Refused(f"The SQLite database {path} cannot be opened: {error.strerror}.") from error
    engine = create_engine(
        url.set(database=str(path)),
        isolation_level="AUTOCOMMIT",
        execution_options={"preserve_rowcount": True},
        connect_args={"timeout": settings.store_timeout_seconds},
        pool_size=8,
        max_overflow=24,
        pool_timeout=settings.store_timeout_seconds,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # WAL lets readers go on beside a writer; FULL lets a commit survive a power cut.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    return engine
