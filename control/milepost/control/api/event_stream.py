"""Event streams: Server-Sent Events and WebSockets out of one feed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from milepost.checkpointing import Unavailable

from .feed import Event, Subscription
from .identity import Identity
from .site import Site

DROPPED = "dropped"
END = "end"
MISSED = "missed"
"""Events beside those of runs: the client was too slow; the run has ended; the client has missed some."""


class EventStream(StreamingResponse):
    """Sends what a subscription is told, as Server-Sent Events, until the run has ended.

    The connection is closed then, and where the key is good no more.
    """

    media_type = "text/event-stream"

    def __init__(
        self, site: Site, identity: Identity, follow: AsyncExitStack, told: Subscription
    ) -> None:
        self._follow = follow
        super().__init__(
            _as_text(site, identity, told),
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until one side ends it."""
        async with self._follow:
            await super().__call__(scope, receive, send)


async def _as_text(site: Site, identity: Identity, told: Subscription) -> AsyncIterator[bytes]:
    # Something to send at once: a proxy passes headers on with the first bytes only.
    yield b": milepost\n\n"
    if told.missed:
        yield _named(MISSED)
    async for event in events(site, identity, told):
        if event is None:
            yield b": alive\n\n"
            continue
        yield event.sse
        if told.run_id is not None and event.head.status.ended:
            yield _named(END)
            return
    if told.dropped:
        yield _named(DROPPED)


async def events(site: Site, identity: Identity, told: Subscription) -> AsyncIterator[Event | None]:
    """Yield what a subscription is told, and None now and then while there is nothing.

    Ends when it was dropped, or when the key is good no more.
    """
    seconds = site.settings.api_heartbeat_seconds
    ask_at = time.monotonic() + seconds
    while True:
        try:
            event = await told.next(seconds)
            if event is None:
                return
        except TimeoutError:
            event = None
        if time.monotonic() >= ask_at:
            if not await _is_good(site, identity):
                return
            ask_at = time.monotonic() + seconds
        yield event


async def _is_good(site: Site, identity: Identity) -> bool:
    try:
        return await site.identities.of_key_id(identity.key_id) is not None
    except Unavailable:
        # Nobody can say now; nothing is told meanwhile, either.
        return True


def _named(name: str) -> bytes:
    return b"event: %s\ndata: {}\n\n" % name.encode()
