"""How tables of runs that an older Milepost made are brought up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, select, update

from milepost.checkpointing.sql_connection import Upgrade

from .sql_book import columns, load
from .sql_tables import runs

_BATCH = 1_000


def _fill_columns(connection: Connection) -> None:
    """Write beside the heads that stand what is searched for."""
    fill = update(runs).where(runs.c.run_id == bindparam("run"))
    after = ""
    while True:
        batch = select(runs.c.run_id, runs.c.head).where(runs.c.run_id > after)
        rows = connection.execute(batch.order_by(runs.c.run_id).limit(_BATCH)).all()
        if not rows:
            return
        heads = [load(row.head) for row in rows]
        connection.execute(
            fill, [{"run": head.run_id, "tenant": head.tenant, **columns(head)} for head in heads]
        )
        after = rows[-1].run_id


UPGRADES: Mapping[int, Sequence[Upgrade]] = {
    2: (
        "ALTER TABLE milepost_runs ADD COLUMN stage VARCHAR(128) DEFAULT '' NOT NULL",
        "ALTER TABLE milepost_runs ADD COLUMN tenant VARCHAR(128) DEFAULT '' NOT NULL",
        "ALTER TABLE milepost_runs ADD COLUMN error_group VARCHAR(128) DEFAULT '' NOT NULL",
        "ALTER TABLE milepost_runs ADD COLUMN crashes INTEGER DEFAULT 0 NOT NULL",
        "ALTER TABLE milepost_runs ADD COLUMN finished_at BIGINT DEFAULT 0 NOT NULL",
        _fill_columns,
    )
}
"""What leads to each version from the one before; indexes and tables that are missing are made after it."""
