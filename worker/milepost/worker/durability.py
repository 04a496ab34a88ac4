"""Whether the run store keeps what it is given."""

from __future__ import annotations

from redis.exceptions import RedisError

from milepost.tasks.runs import RunStore
from milepost.tasks.runs.redis import RedisRunStore


def weaknesses(runs: RunStore) -> list[str]:
    """Return a sentence for each setting of the store that can lose runs: what, and what to do.

    A server that does not let itself be asked (``CONFIG`` disabled, as with some providers) is given
    the benefit of the doubt.
    """
    if not isinstance(runs, RedisRunStore):
        return []
    try:
        config = {
            name: str(value)
            for pattern in ("maxmemory-policy", "appendonly", "save")
            for name, value in runs.client.config_get(pattern).items()
        }
    except RedisError:
        return []
    found = []
    if config.get("maxmemory-policy", "noeviction") != "noeviction":
        found.append(
            f"Its eviction policy is {config['maxmemory-policy']}: when memory runs out, heads and "
            "checkpoints of unfinished runs are dropped in silence. Set maxmemory-policy noeviction."
        )
    if config.get("appendonly") == "no":
        lost = "everything since the last snapshot" if config.get("save") else "every run"
        found.append(
            f"It keeps no append-only file: a restart of the server loses {lost}. Set appendonly yes."
        )
    return found
