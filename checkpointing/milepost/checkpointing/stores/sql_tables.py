"""The tables of checkpoints in SQL, and how a database tells the time."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

VERSION = 1
NAME = String(128).with_variant(String(128, collation="C"), "postgresql")
"""Names are listed in the order of their bytes."""

metadata = MetaData()

records = Table(
    "milepost_records",
    metadata,
    Column("run_id", NAME, primary_key=True),
    Column("kind", NAME, primary_key=True),
    Column("lane", NAME, primary_key=True),
    Column("timeline", BigInteger, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("header", LargeBinary, nullable=False),
    Column("body_bytes", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

expiry = Table(
    "milepost_expiry",
    metadata,
    Column("run_id", NAME, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
)


class now_ms(FunctionElement[int]):  # noqa: N801 - a SQL function
    """The database's clock in milliseconds since 1970; it moves within a transaction."""

    type = BigInteger()
    inherit_cache = True


@compiles(now_ms, "postgresql")
def _in_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return "CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)"


@compiles(now_ms, "sqlite")
def _in_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    # SQLite counts in whole milliseconds of the Julian day.
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
