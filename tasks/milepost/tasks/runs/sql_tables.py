"""The tables of runs in SQL."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Table, Text

from milepost.checkpointing.stores.sql_tables import NAME

VERSION = 2
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
    Column("stage", NAME, nullable=False, server_default=""),
    Column("tenant", NAME, nullable=False, server_default=""),
    Column("error_group", NAME, nullable=False, server_default=""),
    Column("crashes", Integer, nullable=False, server_default="0"),
    Column("finished_at", BigInteger, nullable=False, server_default="0"),
)
"""The head is JSON; beside it stands what is searched for."""

Index("milepost_runs_created", runs.c.created_at, runs.c.run_id)
Index("milepost_runs_status", runs.c.status, runs.c.created_at, runs.c.run_id)
Index("milepost_runs_pipeline", runs.c.pipeline, runs.c.created_at, runs.c.run_id)
Index("milepost_runs_due", runs.c.due_at)
Index("milepost_runs_group", runs.c.status, runs.c.error_group, runs.c.finished_at)
_tenanted = runs.c.tenant != ""
Index(
    "milepost_runs_tenant",
    runs.c.tenant,
    runs.c.created_at,
    runs.c.run_id,
    postgresql_where=_tenanted,
    sqlite_where=_tenanted,
)
_crashed = runs.c.crashes > 0
Index("milepost_runs_crashed", runs.c.crashes, postgresql_where=_crashed, sqlite_where=_crashed)
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

entries = Table(
    "milepost_entries",
    metadata,
    Column("kind", NAME, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)


def _journal(name: str, *of_it: Column[str]) -> Table:
    """Return a table of what is kept in the order in which it came."""
    # SQLite numbers rows by itself only where the key is its plain INTEGER.
    number = BigInteger().with_variant(Integer, "sqlite")
    return Table(
        name,
        metadata,
        Column("number", number, primary_key=True, autoincrement=True),
        *of_it,
        Column("at_ms", BigInteger, nullable=False),
    )


notes = _journal(
    "milepost_notes",
    Column("run_id", NAME, nullable=False),
    Column("by", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("detail", Text, nullable=False),
)
Index("milepost_notes_run", notes.c.run_id, notes.c.number)

aside = _journal(
    "milepost_aside",
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
)
