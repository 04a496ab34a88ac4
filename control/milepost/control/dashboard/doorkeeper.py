"""Who knows which keys are good, and the dashboard's place in the server of the HTTP API."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

import anyio.from_thread
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from milepost.checkpointing import MilepostError
from milepost.tasks import Milepost

from ..api.keys import Key, Keys
from ..api.keys import Scope as KeyScope
from .bulk_jobs import BulkJobs
from .session import COOKIE, Sessions


class Holder(Protocol):
    """Who has a key, as the API knows them."""

    @property
    def name(self) -> str:
        """In whose name commands are noted."""

    @property
    def scope(self) -> KeyScope:
        """What they may do."""

    @property
    def tenant(self) -> str:
        """Whose runs they see; empty: all."""

    @property
    def key_id(self) -> str:
        """Of their key."""


class Identities(Protocol):
    """What the API knows of keys: those of the run store, and one of its own."""

    async def of_text(self, text: str) -> Holder | None:
        """Return who has the key that *text* is."""

    async def of_key_id(self, key_id: str) -> Holder | None:
        """Return who has the key with this id."""

    def redeem(self, code: str) -> Holder | None:
        """Return whom a code signs in, once."""


class Host(Protocol):
    """The server that the dashboard is part of."""

    @property
    def app(self) -> Milepost:
        """The application."""

    @property
    def identities(self) -> Identities:
        """Who has which key."""

    @property
    def jobs(self) -> BulkJobs:
        """Bulk commands, ended when the server ends."""


class KeyDoor:
    """Lets in who has a key of the run store."""

    def __init__(self, app: Milepost) -> None:
        self._app = app

    def verify(self, text: str) -> Key | None:
        """Return the key that *text* is."""
        return Keys(self._app.runs).verify(text)

    def find(self, key_id: str) -> Key | None:
        """Return a key by its id."""
        return Keys(self._app.runs).find(key_id)

    def redeem(self, code: str) -> Key | None:
        """Return None: there are no codes."""
        return None


class IdentityDoor:
    """Lets in whom the API knows. For threads of the server's event loop: it is asked there."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities

    def verify(self, text: str) -> Key | None:
        """Return the key that *text* is."""
        return _key(anyio.from_thread.run(self._identities.of_text, text))

    def find(self, key_id: str) -> Key | None:
        """Return a key by its id."""
        return _key(anyio.from_thread.run(self._identities.of_key_id, key_id))

    def redeem(self, code: str) -> Key | None:
        """Return the key that a code stands for, once."""
        return _key(self._identities.redeem(code))


class SessionIdentity:
    """Lets who has signed in to the dashboard read the API, for a page that follows a run's events.

    A middleware: it puts who asks into ``request.state.identity``. Only for GET: a form of another site could
    bring the cookie of a browser that does not keep it back, and only our own forms carry a token.
    """

    def __init__(self, app: ASGIApp, host: Host) -> None:
        self._app = app
        self._host = host
        self._sessions = Sessions(host.app, IdentityDoor(host.identities))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] == "GET" and _is_api(scope["path"]):
            connection = HTTPConnection(scope)
            cookie = connection.cookies.get(COOKIE)
            if cookie and "authorization" not in connection.headers:
                # Without a store nobody is known; the route then says that it does not answer.
                with suppress(MilepostError):
                    key_id = await anyio.to_thread.run_sync(self._sessions.key_id, cookie)
                    holder = await self._host.identities.of_key_id(key_id) if key_id else None
                    if holder is not None:
                        scope.setdefault("state", {})["identity"] = holder
        await self._app(scope, receive, send)


def _is_api(path: str) -> bool:
    return path.startswith("/v1/")


def _key(holder: Holder | None) -> Key | None:
    if holder is None:
        return None
    return Key(holder.key_id, holder.name, holder.scope, holder.tenant)
