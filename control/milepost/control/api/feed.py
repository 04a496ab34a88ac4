"""What happens to runs, for all who follow them: the store is asked once for everybody.

The store tells how runs stand, not what happened to them. So the feed looks twice a second and says what has
changed since: a run that moves several times between two looks is shown as it is then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex

from pydantic_core import to_json

from milepost.checkpointing import MilepostError
from milepost.tasks import Head, RunQuery, RunStatus
from milepost.tasks.head import UNDER_WAY
from milepost.tasks.query import EVERY_RUN
from milepost.tasks.runs import RunStore

from .documents import RunDocument
from .identity import Call
from .settings import ApiSettings

logger = logging.getLogger("milepost.api")
_MOVING = RunQuery.of(RunStatus.RUNNING, *UNDER_WAY)
_PAGE = 500
_MOVING_PAGES = 4
_YOUNGEST = 200
_FOLLOWED = 5_000
"""How many runs that were seen unfinished are looked at again until they end."""
_REMEMBERED = 20_000
_REPLAYED = 10_000
_AT_ONCE = 32
_LINGER_SECONDS = 15.0
"""How long it goes on looking for nobody: who lost a connection comes back for what was missed."""


@dataclass(frozen=True, slots=True)
class Event:
    """That a run stands otherwise than before."""

    number: int
    head: Head
    document: bytes
    sse: bytes


class Subscription:
    """What one client is still to be told."""

    def __init__(self, query: RunQuery, run_id: str | None, backlog: int) -> None:
        self._query = query
        self.run_id = run_id
        self.dropped = False
        """Whether the client was too slow: it has missed something, and is told no more."""
        self.missed = False
        """Whether it asked to go on from something that is not remembered any more."""
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._backlog = backlog
        self._last: Head | None = None

    def offer(self, event: Event) -> None:
        """Tell it, if it wants to know."""
        if self.dropped or self._last is event.head:
            return
        wanted = self.run_id in (None, event.head.run_id) and self._query.matches(event.head)
        if not wanted or (self.run_id is not None and self._last == event.head):
            return
        if self.run_id is not None:
            self._last = event.head
        if self._queue.qsize() >= self._backlog:
            self.drop()
            return
        self._queue.put_nowait(event)

    def replay(self, event: Event) -> None:
        """Tell it what it has missed: that makes nobody slow."""
        self._backlog += 1
        self.offer(event)

    def drop(self) -> None:
        """Tell it no more: it is too slow."""
        self.dropped = True
        self.end()

    def end(self) -> None:
        """Tell it no more: the server ends."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def next(self, timeout: float) -> Event | None:
        """Return the next event; None if it was dropped.

        Raises:
            TimeoutError: There was none in time.
        """
        if not self._queue.empty():
            return self._queue.get_nowait()
        async with asyncio.timeout(timeout):
            return await self._queue.get()


class Feed:
    """Looks for what has changed while anybody follows, and tells all who do."""

    def __init__(self, runs: RunStore, settings: ApiSettings, call: Call) -> None:
        self._runs = runs
        self._settings = settings
        self._call = call
        self.epoch = token_hex(4)
        """Of the event ids of this process."""
        self.dropped = 0
        self._subscriptions: set[Subscription] = set()
        self._watched: Counter[str] = Counter()
        self._number = 0
        self._events: deque[Event] = deque(maxlen=_REPLAYED)
        self._seen: OrderedDict[str, Head] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self._primed = False
        self._left_at = 0.0

    def __len__(self) -> int:
        return len(self._subscriptions)

    @asynccontextmanager
    async def follow(
        self,
        query: RunQuery,
        *,
        run_id: str | None = None,
        current: Head | None = None,
        after: str | None = None,
    ) -> AsyncIterator[Subscription]:
        """Follow runs that *query* matches, or one of them.

        Args:
            current: How that one stands: the first thing it is told.
            after: The id of the last event that the client has; what came since is told first.
        """
        subscription = Subscription(query, run_id, self._settings.api_stream_backlog)
        self._replay(subscription, after)
        if current is not None:
            subscription.offer(self._event(current))
            self._seen.setdefault(current.run_id, current)
        self._subscriptions.add(subscription)
        if run_id is None:
            self._watched[""] += 1
        else:
            self._watched[run_id] += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            key = run_id or ""
            self._watched[key] -= 1
            if not self._watched[key]:
                del self._watched[key]
                self._left_at = time.monotonic() if run_id is None else self._left_at
            if subscription.dropped:
                self.dropped += 1
                logger.warning("A client that follows %s was too slow.", run_id or "runs")

    async def close(self) -> None:
        """Stop looking, and let all who follow go."""
        if self._task is not None:
            self._task.cancel()
        for subscription in self._subscriptions:
            subscription.end()

    def id_of(self, event: Event) -> str:
        """Return the id that a client can go on from."""
        return f"{self.epoch}-{event.number}"

    def _replay(self, subscription: Subscription, after: str | None) -> None:
        epoch, _, number = (after or "").rpartition("-")
        if after is None:
            return
        oldest = self._events[0].number if self._events else self._number + 1
        known = epoch == self.epoch and number.isdecimal() and len(number) < 18
        if not known or not oldest - 1 <= int(number) <= self._number:
            subscription.missed = True
            return
        for event in self._events:
            if event.number > int(number):
                subscription.replay(event)

    async def _run(self) -> None:
        idle_since: float | None = None
        while True:
            if self._subscriptions:
                idle_since = None
            elif idle_since is None:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > _LINGER_SECONDS:
                self._primed = False
                self._seen.clear()
                return
            began = time.monotonic()
            try:
                await self._look()
            except MilepostError as error:
                logger.warning("The feed of runs waits: %s", error)
            except Exception:
                logger.exception("The feed of runs could not look.")
            took = time.monotonic() - began
            # A slow store is not asked all the time.
            await asyncio.sleep(max(self._settings.api_poll_seconds, took))

    async def _look(self) -> None:
        left = self._primed and time.monotonic() - self._left_at < _LINGER_SECONDS
        general = "" in self._watched or left
        watched = [run_id for run_id in self._watched if run_id]
        if general and not self._primed:
            # What is there already is no news, but of runs that somebody follows.
            found = await self._call(self._read, [], True)
            self._remember(head for head in found if head.run_id not in self._seen)
            self._primed = True
            return
        followed = [head.run_id for head in self._unfinished()] if general else []
        heads = await self._call(self._read, [*watched, *followed], general)
        self._primed = general
        changed = [head for head in heads if self._seen.get(head.run_id) != head]
        self._remember(heads)
        at_once = max(1, min(_AT_ONCE, self._settings.api_stream_backlog // 2))
        for number, head in enumerate(changed, 1):
            event = self._event(head)
            self._events.append(event)
            for subscription in [*self._subscriptions]:
                subscription.offer(event)
            if number % at_once == 0:
                # Slow is who does not read, not who had no turn yet.
                await asyncio.sleep(0)

    def _unfinished(self) -> list[Head]:
        found = [head for head in reversed(self._seen.values()) if not head.status.ended]
        return found[:_FOLLOWED]

    def _read(self, run_ids: list[str], general: bool) -> list[Head]:
        """Return the runs named, and those that may have changed of all."""
        heads: dict[str, Head] = {}
        if general:
            cursor: str | None = None
            for _ in range(_MOVING_PAGES):
                page = self._runs.find(_MOVING, cursor=cursor, limit=_PAGE)
                heads.update((head.run_id, head) for head in page.items)
                if (cursor := page.cursor) is None:
                    break
            youngest = self._runs.find(EVERY_RUN, limit=_YOUNGEST)
            heads.update((head.run_id, head) for head in youngest.items)
        missing = [run_id for run_id in dict.fromkeys(run_ids) if run_id not in heads]
        for head in self._runs.get_many(missing):
            if head is not None:
                heads[head.run_id] = head
        return [*heads.values()]

    def _remember(self, heads: Iterable[Head]) -> None:
        for head in heads:
            self._seen[head.run_id] = head
            self._seen.move_to_end(head.run_id)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def _event(self, head: Head) -> Event:
        self._number += 1
        document = to_json(RunDocument.of(head))
        sse = b"id: %s-%d\nevent: run\ndata: %s\n\n" % (
            self.epoch.encode(),
            self._number,
            document,
        )
        return Event(self._number, head, document, sse)
