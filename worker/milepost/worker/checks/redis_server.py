"""Redis and Valkey: whether they keep what they are given, and can go on doing so."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .base import Check, Finding
from .site import RedisServer, Site

_OLDEST = (7, 0)
_FULL, _FILLING = 0.95, 0.8


class RedisDurability(Check):
    """Eviction and persistence."""

    name = "redis durability"

    def findings(self, site: Site) -> Iterator[Finding]:
        for server in site.redis_servers:
            yield from self._of(server) if server.keeps_runs else self._of_messages(server)

    def _of(self, server: RedisServer) -> Iterator[Finding]:
        config = server.config("maxmemory-policy", "append*", "save")
        where = server.location
        if config is None:
            yield self.ok(
                f"{where} does not let its settings be read; see that it does not evict, and keeps an "
                "append-only file.",
                where,
            )
            return
        policy = config.get("maxmemory-policy", "noeviction")
        if policy != "noeviction":
            yield self.fail(
                f"{where} can lose runs: its eviction policy is {policy}: when memory runs out, heads and "
                "checkpoints of unfinished runs are dropped in silence.",
                "Set maxmemory-policy noeviction.",
                where,
            )
        if config.get("appendonly") == "no":
            lost = "everything since the last snapshot" if config.get("save") else "every run"
            yield self.fail(
                f"{where} can lose runs: it keeps no append-only file: a restart of the server loses {lost}.",
                "Set appendonly yes.",
                where,
            )
        elif config.get("appendfsync") == "no":
            yield self.warn(
                f"{where} can lose runs: it leaves to the kernel when its append-only file is written: a "
                "power cut can take half a minute of commits.",
                "Set appendfsync everysec, or always.",
                where,
            )
        elif policy == "noeviction":
            everysec = config.get("appendfsync") == "everysec"
            cut = "the last second of commits" if everysec else "nothing"
            yield self.ok(
                f"It evicts nothing and keeps an append-only file; a power cut takes {cut}.", where
            )

    def _of_messages(self, server: RedisServer) -> Iterator[Finding]:
        config = server.config("maxmemory-policy") or {}
        policy = config.get("maxmemory-policy", "noeviction")
        if policy != "noeviction" and "messages" in server.roles:
            yield self.warn(
                f"Its eviction policy is {policy}: messages that are dropped are made again, later.",
                "Set maxmemory-policy noeviction.",
                server.location,
            )
        else:
            yield self.ok("What is lost there is made again from the stores.", server.location)


class RedisMemory(Check):
    """Room, and whether the last write to disk went well."""

    name = "redis memory and disk"

    def findings(self, site: Site) -> Iterator[Finding]:
        for server in site.redis_servers:
            yield self._memory(server)
            yield from self._disk(server)

    def _memory(self, server: RedisServer) -> Finding:
        info = server.info("memory")
        used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
        whose = "of its maxmemory"
        if not limit:
            limit, whose = int(info.get("total_system_memory", 0)), "of the host's memory"
        if not limit:
            return self.ok(f"It uses {_mib(used)}, and does not say of how much.", server.location)
        share = used / limit
        says = f"It uses {_mib(used)}, {share:.0%} {whose}."
        if share < _FILLING:
            return self.ok(says, server.location)
        remedy = "Give it more, keep ended runs for a shorter time, or keep checkpoints elsewhere."
        return (self.fail if share > _FULL else self.warn)(says, remedy, server.location)

    def _disk(self, server: RedisServer) -> Iterator[Finding]:
        info = server.info("persistence")
        for fact, what in (
            ("aof_last_write_status", "write to its append-only file"),
            ("aof_last_bgrewrite_status", "rewrite of its append-only file"),
            ("rdb_last_bgsave_status", "snapshot"),
        ):
            if info.get(fact, "ok") != "ok":
                yield self.fail(
                    f"Its last {what} failed.",
                    "See its log; the disk may be full. It may refuse to write.",
                    server.location,
                )


class RedisRole(Check):
    """Replicas and clusters."""

    name = "redis replication"

    def findings(self, site: Site) -> Iterator[Finding]:
        for server in site.redis_servers:
            yield self._of(server)

    def _of(self, server: RedisServer) -> Finding:
        if server.info("cluster").get("cluster_enabled") == "1":
            return self.fail(
                "It is part of a Redis Cluster; a run store is one server, and so is a broker.",
                "Name a server that is none, or one behind a proxy.",
                server.location,
            )
        info = server.info("replication")
        if info.get("role") != "master":
            return self.fail(
                "It is a replica, and takes no writes.", "Name its primary.", server.location
            )
        replicas = int(info.get("connected_slaves", 0))
        config = server.config("min-replicas-to-write") or {}
        if replicas and server.keeps_runs and config.get("min-replicas-to-write", "0") == "0":
            return self.warn(
                f"It has {replicas} replicas that follow in their own time: after a failover the last "
                "commits can be missing, and their stages run again.",
                "Set min-replicas-to-write 1 and a small min-replicas-max-lag.",
                server.location,
            )
        return self.ok(f"A primary with {replicas} replicas.", server.location)


class RedisVersion(Check):
    """Versions that know every command in use."""

    name = "redis version"

    def findings(self, site: Site) -> Iterator[Finding]:
        for server in site.redis_servers:
            info = server.info("server")
            kind = "Valkey" if "valkey_version" in info else "Redis"
            shown = info.get("valkey_version") or info.get("redis_version", "?")
            found = tuple(int(n) for n in re.findall(r"\d+", info.get("redis_version", "0"))[:2])
            if found < _OLDEST and server.keeps_runs:
                yield self.fail(
                    f"It is {kind} {shown}; runs need Redis 7.0 or any Valkey.",
                    "Use a newer server.",
                    server.location,
                )
            else:
                yield self.ok(f"{kind} {shown}.", server.location)


def _mib(number: int) -> str:
    return f"{number / 2**20:.0f} MiB"
