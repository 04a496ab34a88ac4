"""Whether the stores keep what they are given."""

from __future__ import annotations

import redis
from redis.exceptions import RedisError

from milepost.checkpointing.stores.redis import RedisCheckpointStore
from milepost.tasks import Milepost
from milepost.tasks.runs.redis import RedisRunStore


def weaknesses(app: Milepost) -> list[str]:
    """Return a sentence for each setting of a store that can lose runs: where, what, and what to do.

    The broker is not asked unless it is a store, too: messages that are lost are made again. A server
    that does not let itself be asked (``CONFIG`` disabled, as with some providers) is given the benefit
    of the doubt.
    """
    stores = (app.runs, app.checkpoints.store)
    return [
        f"{location} can lose runs: {found}"
        for location, client in {
            store.location: store.client
            for store in stores
            if isinstance(store, RedisRunStore | RedisCheckpointStore)
        }.items()
        for found in _weaknesses(client)
    ]


def _weaknesses(client: redis.Redis) -> list[str]:
    try:
        config = {
            name: str(value)
            for pattern in ("maxmemory-policy", "appendonly", "save")
            for name, value in client.config_get(pattern).items()
        }
    except RedisError:
        return []
    found = []
    if config.get("maxmemory-policy", "noeviction") != "noeviction":
        found.append(
            f"its eviction policy is {config['maxmemory-policy']}: when memory runs out, heads and "
            "checkpoints of unfinished runs are dropped in silence. Set maxmemory-policy noeviction."
        )
    if config.get("appendonly") == "no":
        lost = "everything since the last snapshot" if config.get("save") else "every run"
        found.append(
            f"it keeps no append-only file: a restart of the server loses {lost}. Set appendonly yes."
        )
    return found
