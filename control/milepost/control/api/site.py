"""What the routes of one server share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Annotated, ParamSpec, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Depends
from starlette.requests import HTTPConnection

from milepost.tasks import Head, Milepost, UnknownRun
from milepost.tasks.lifecycle import Lifecycle

from ..dashboard.bulk_jobs import BulkJobs
from .etag import is_match
from .feed import Feed
from .glances import Glance, Glances
from .identity import Identities, Identity
from .keys import Keys
from .places import Places
from .rates import Rates
from .settings import ApiSettings

P = ParamSpec("P")
T = TypeVar("T")


class Site:
    """The application, its settings, who asks, and threads to ask the stores in."""

    def __init__(self, app: Milepost, settings: ApiSettings) -> None:
        self.app = app
        self.settings = settings
        self.keys = Keys(app.runs)
        self._threads = CapacityLimiter(settings.api_threads)
        self._long = CapacityLimiter(settings.api_bulk_jobs)
        self.closing = threading.Event()
        """Set when the server ends: what takes long is to end, too."""
        self.identities = Identities(self.keys, self.call)
        self.rates = Rates(settings.api_rate_per_second, settings.api_rate_burst)
        self.glances = Glances(app.runs, self.call)
        self.feed = Feed(app.runs, settings, self.call)
        self.followers = Places(
            "event streams and waits", settings.api_streams_per_key, settings.api_streams
        )
        self.bulk_places = Places(
            "bulk commands", settings.api_bulk_jobs_per_key, settings.api_bulk_jobs
        )
        self.jobs = BulkJobs(app, self.bulk_places)

    async def close(self) -> None:
        """End streams, waits and bulk commands; what these have done stands. Closing twice is harmless."""
        self.closing.set()
        await self.feed.close()
        await anyio.to_thread.run_sync(self.jobs.close)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what may wait for a store, in a thread."""
        if kwargs:
            return await anyio.to_thread.run_sync(
                partial(function, *args, **kwargs), limiter=self._threads
            )
        return await anyio.to_thread.run_sync(function, *args, limiter=self._threads)

    async def call_long(self, function: Callable[[], T]) -> T:
        """Call what may take minutes and has one of `bulk_places`; others are not kept waiting by it."""
        return await anyio.to_thread.run_sync(function, limiter=self._long, abandon_on_cancel=True)

    def head(self, run_id: str, identity: Identity) -> Head:
        """Return a run that *identity* may see.

        Raises:
            UnknownRun: There is none, or it is another tenant's, which looks the same.
        """
        head = self.app.runs.get(run_id)
        if head is None or not _may_see(identity, head):
            raise UnknownRun(f"There is no run {run_id}.", run_id=run_id)
        return head

    async def glance(self, run_id: str, identity: Identity) -> Glance:
        """Return how a run stands that *identity* may see; raises as `head` does."""
        glance = await self.glances.at(run_id)
        if glance is None or not _may_see(identity, glance.head):
            raise UnknownRun(f"There is no run {run_id}.", run_id=run_id)
        return glance

    def command(
        self,
        run_id: str,
        identity: Identity,
        if_match: str | None,
        do: Callable[[Lifecycle], object],
    ) -> Head | None:
        """Do something to a run in the name of who asks, and return the run as it is then; None: gone.

        Raises:
            MovedOn: It does not stand where *if_match* says, now or in the step in which it would be done.
        """
        do(self.lifecycle(run_id, identity, if_match))
        return self.app.runs.get(run_id)

    def lifecycle(self, run_id: str, identity: Identity, if_match: str | None) -> Lifecycle:
        """Return the commands for a run in the name of who asks; raises as `command` does."""
        head = self.head(run_id, identity)
        commands = self.app.lifecycle.on_behalf_of(identity.name)
        return commands.only_if(head) if is_match(if_match, head) else commands


def _may_see(identity: Identity, head: Head) -> bool:
    return identity.tenant in ("", head.tenant)


async def site_of(connection: HTTPConnection) -> Site:
    """Return the site that serves *connection*."""
    site: Site = connection.app.state.site
    return site


Here = Annotated[Site, Depends(site_of)]
