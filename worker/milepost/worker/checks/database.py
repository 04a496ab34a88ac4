"""SQL databases: whether what was committed is on disk."""

from __future__ import annotations

from collections.abc import Iterator

from milepost.checkpointing.sql_connection import Database

from .base import Check, Finding
from .site import Site

_OLDEST = 130_000
_SETTINGS = (
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "server_version_num",
    "transaction_read_only",
)


class DatabaseDurability(Check):
    """PostgreSQL's settings; those of SQLite are our own."""

    name = "database durability"

    def findings(self, site: Site) -> Iterator[Finding]:
        if not site.databases:
            yield self.ok("None in use.")
        for where, database in site.databases.items():
            if database.is_sqlite:
                yield self.ok(
                    "SQLite: what is committed is on disk. For workers of one host.", where
                )
            else:
                yield from self._of_postgres(where, database)

    def _of_postgres(self, where: str, database: Database) -> Iterator[Finding]:
        columns = ", ".join(f"current_setting('{name}')" for name in _SETTINGS)
        row = database.single(lambda c: c.exec_driver_sql(f"SELECT {columns}").one())
        config = dict(zip(_SETTINGS, row, strict=True))
        bad = False
        for name in ("fsync", "full_page_writes"):
            if config[name] == "off":
                bad = True
                yield self.fail(
                    f"{where} can lose runs: {name} is off: a power cut can damage the whole database.",
                    f"Set {name} = on.",
                    where,
                )
        if config["synchronous_commit"] == "off":
            bad = True
            yield self.warn(
                f"{where} can lose runs: synchronous_commit is off: a crash of the server takes the last "
                "commits, about half a second of them, and their stages run again.",
                "Set synchronous_commit = on.",
                where,
            )
        if config["transaction_read_only"] == "on":
            bad = True
            yield self.fail(
                "It takes no writes: a standby, or read-only by its settings.",
                "Name its primary.",
                where,
            )
        number = int(config["server_version_num"])
        if number < _OLDEST:
            yield self.warn(
                f"PostgreSQL {number // 10_000} is not maintained.", "Use 13 or newer.", where
            )
        elif not bad:
            yield self.ok(f"PostgreSQL {number // 10_000}: what is committed is on disk.", where)
