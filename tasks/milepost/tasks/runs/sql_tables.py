"""The tables of runs in SQL."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Table, Text

from milepost.checkpointing.stores.sql_tables import NAME

VERSION = 1
metadata = MetaData()

runs = Table(
    "milepost_runs",
    metadata,
    Column("run_id", NAME, primary_key=True),
    Column("pipeline", NAME, nullable=False),
    Column("status", NAME, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("owner", NAME, nullable=False),
    Column("due_at", BigInteger),
    Column("head", Text, nullable=False),
)
"""The head is JSON; beside it stands what is searched for."""

Index("milepost_runs_created", runs.c.created_at, runs.c.run_id)
Index("milepost_runs_status", runs.c.status, runs.c.created_at, runs.c.run_id)
Index("milepost_runs_pipeline", runs.c.pipeline, runs.c.created_at, runs.c.run_id)
Index("milepost_runs_due", runs.c.due_at)
_held = runs.c.owner != ""
Index("milepost_runs_held", runs.c.owner, postgresql_where=_held, sqlite_where=_held)

tags = Table(
    "milepost_tags",
    metadata,
    Column("tag", NAME, primary_key=True),
    Column("created_at", BigInteger, primary_key=True),
    Column("run_id", NAME, primary_key=True),
    Index("milepost_tags_run", "run_id"),
)

owners = Table(
    "milepost_owners",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("until_ms", BigInteger, nullable=False),
    Column("leaving", Boolean, nullable=False),
    Column("spared", Boolean, nullable=False),
)

trials = Table(
    "milepost_trials",
    metadata,
    Column("host", Text, primary_key=True),
    Column("run_id", NAME, nullable=False),
)

flows = Table(
    "milepost_flows",
    metadata,
    Column("queue", Text, primary_key=True),
    Column("priority", Integer, primary_key=True),
    Column("published_at", BigInteger, nullable=False),
)

state = Table(
    "milepost_state",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("value", Text, nullable=False),
)

aside = Table(
    "milepost_aside",
    metadata,
    # SQLite numbers rows by itself only where the key is its plain INTEGER.
    Column(
        "number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
