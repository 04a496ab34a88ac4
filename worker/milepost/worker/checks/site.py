"""What checks look at: an application, its servers and its fleet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import redis
from redis.exceptions import RedisError

from milepost.checkpointing import CheckpointStore
from milepost.checkpointing.redaction import redacted
from milepost.checkpointing.redis_connection import SCHEMES as REDIS_SCHEMES
from milepost.checkpointing.redis_connection import open_redis
from milepost.checkpointing.sql_connection import Database
from milepost.checkpointing.stores.redis import RedisCheckpointStore
from milepost.checkpointing.stores.tiered import TieredCheckpointStore
from milepost.tasks import Milepost
from milepost.tasks.runs.redis import RedisRunStore

if TYPE_CHECKING:
    from ..fleet import Fleet
    from ..reports import QueueReport, WorkerReport


@dataclass(slots=True)
class RedisServer:
    """A Redis, and what it is used for."""

    location: str
    client: redis.Redis
    roles: list[str] = field(default_factory=list)
    """Of ``runs``, ``checkpoints`` and ``messages``."""

    @property
    def keeps_runs(self) -> bool:
        """Whether more than messages, or copies, would be lost with it."""
        return "runs" in self.roles or "checkpoints" in self.roles

    def info(self, section: str) -> dict[str, str]:
        """Return a section of the server's own account of itself."""
        return {name: str(value) for name, value in self.client.info(section).items()}

    def config(self, *names: str) -> dict[str, str] | None:
        """Return settings; None where the server does not let itself be asked, as with some providers."""
        try:
            found: dict[str, str] = {}
            for name in names:
                found.update({str(k): str(v) for k, v in self.client.config_get(name).items()})
        except RedisError:
            return None
        return found


class Site:
    """Opens the stores.

    Args:
        with_broker: Whether a Redis that has messages alone is looked at, too: what is lost there is made
            again.

    Raises:
        Unavailable, Refused, Misconfigured: A store cannot be opened.
    """

    def __init__(self, app: Milepost, *, with_broker: bool = True) -> None:
        self.app = app
        self.runs = app.runs
        self._broker: redis.Redis | None = None
        url = self.broker_url
        if with_broker and self.broker_is_redis:
            self._broker = open_redis(url, app.settings)

    @property
    def broker_url(self) -> str:
        """The URL of the broker, with its password."""
        conf = self.app.celery.conf
        return str(conf.broker_write_url or conf.broker_url)

    @property
    def broker_location(self) -> str:
        """The same without."""
        return redacted(self.broker_url)

    @property
    def broker_is_redis(self) -> bool:
        """Whether the broker is one Redis, which can be asked."""
        return self.broker_url.split("://")[0] in REDIS_SCHEMES and ";" not in self.broker_url

    @cached_property
    def redis_servers(self) -> list[RedisServer]:
        """Every Redis in use, once, whatever it is used for."""
        found: dict[str, RedisServer] = {}

        def add(location: str, client: redis.Redis, role: str) -> None:
            server = found.setdefault(location, RedisServer(location, client))
            server.roles.append(role)

        if isinstance(self.runs, RedisRunStore):
            add(self.runs.location, self.runs.client, "runs")
        for store, role in self._logs():
            if isinstance(store, RedisCheckpointStore):
                add(store.location, store.client, role)
        if self._broker is not None:
            add(self.broker_location, self._broker, "messages")
        return [*found.values()]

    @cached_property
    def databases(self) -> dict[str, Database]:
        """Every SQL database in use, by its URL without the password."""
        holders = [self.runs, *(store for store, _ in self._logs())]
        found = [getattr(holder, "database", None) for holder in holders]
        return {str(each.location): each for each in found if isinstance(each, Database)}

    @cached_property
    def fleet(self) -> Fleet:
        """All workers and queues."""
        from ..fleet import Fleet

        return Fleet(self.app)

    @cached_property
    def workers(self) -> list[WorkerReport]:
        """The fleet."""
        return self.fleet.workers()

    @property
    def up(self) -> list[WorkerReport]:
        """Its workers that take stages."""
        return [worker for worker in self.workers if worker.state == "up"]

    @cached_property
    def queues(self) -> list[QueueReport]:
        """The queues in use."""
        return self.fleet.queues(self.workers)

    def close(self) -> None:
        """Give back what is not the application's."""
        if self._broker is not None:
            self._broker.close()

    def _logs(self) -> Iterator[tuple[CheckpointStore, str]]:
        store = self.app.checkpoints.store
        if isinstance(store, TieredCheckpointStore):
            hot, cold = store.tiers
            yield hot, "copies"
            yield cold, "checkpoints"
        else:
            yield store, "checkpoints"
