"""Who asks: a key, or whatever else stands for one."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection

from .keys import Key, Keys, Scope
from .problems import FORBIDDEN, UNAUTHORIZED, Problem

if TYPE_CHECKING:
    from .site import Site

_TRUST_SECONDS = 1.0
"""How long a key that was found good is taken for good: so long at most after it was revoked elsewhere."""
_REMEMBERED = 10_000
_ONCE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, and what they may do."""

    name: str
    scope: Scope
    tenant: str = ""
    """Whose runs they see; empty: all."""
    key_id: str = ""

    @classmethod
    def of(cls, key: Key) -> Identity:
        """Return who has *key*."""
        return cls(key.name, key.scope, key.tenant, key.id)


Call = Callable[..., Awaitable[Any]]


class Identities:
    """Finds out who asks, and remembers it for a second."""

    def __init__(self, keys: Keys, call: Call) -> None:
        self._keys = keys
        self._call = call
        self._known: dict[bytes, tuple[Identity, float]] = {}
        self._local: tuple[str, Identity] | None = None
        self._once: dict[str, float] = {}

    def make_local(self) -> str:
        """Return an admin key that is good as long as this process lives, and is nowhere kept."""
        text = f"mp_local_{token_urlsafe(32)}"
        self._local = (text, Identity("local", Scope.ADMIN, key_id="local"))
        return text

    def make_code(self) -> str:
        """Return a code that signs in once as the holder of the local key, within an hour."""
        code = token_urlsafe(24)
        self._once[code] = time.monotonic() + _ONCE_SECONDS
        return code

    def redeem(self, code: str) -> Identity | None:
        """Return whom *code* signs in; None if it is none, was used or is too old."""
        until = self._once.pop(code, 0.0)
        return self._local[1] if self._local and until > time.monotonic() else None

    async def of_text(self, text: str) -> Identity | None:
        """Return who has the key that *text* is; None if it is no good key."""
        if self._local and hmac.compare_digest(text.encode(), self._local[0].encode()):
            return self._local[1]
        digest = hashlib.sha256(text.encode()).digest()
        known, until = self._known.get(digest, (None, 0.0))
        if known is not None and until > time.monotonic():
            return known
        key: Key | None = await self._call(self._keys.verify, text)
        if key is None:
            self._known.pop(digest, None)
            return None
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        left = _TRUST_SECONDS if key.expires_at is None else key.expires_at - time.time()
        identity = Identity.of(key)
        self._known[digest] = (identity, time.monotonic() + min(left, _TRUST_SECONDS))
        return identity

    async def of_key_id(self, key_id: str) -> Identity | None:
        """Return who has the key with this id, for sessions; None if it is good no more."""
        if self._local and key_id == self._local[1].key_id:
            return self._local[1]
        key: Key | None = await self._call(self._keys.find, key_id)
        return None if key is None else Identity.of(key)

    async def of_header(self, connection: HTTPConnection) -> Identity | None:
        """Return who has the key in the ``Authorization`` header; None without one, or if it is not good."""
        scheme, _, text = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            return None
        return await self.of_text(text.strip())

    def forget(self) -> None:
        """Ask again about every key: one was revoked here."""
        self._known.clear()


class Requires:
    """A dependency that gives the `Identity` of who asks, if it may do what the route does.

    Something other than the API, such as a session of the dashboard, may have put it into
    ``request.state.identity`` before.
    """

    def __init__(self, scope: Scope, *, every_tenant: bool = False) -> None:
        self.scope = scope
        self.every_tenant = every_tenant

    async def __call__(self, connection: HTTPConnection) -> Identity:
        """Return who asks.

        Raises:
            Problem: 401 without a good key, 403 if the key does not allow it.
        """
        found: Identity | None = getattr(connection.state, "identity", None)
        if found is None:
            site: Site = connection.app.state.site
            found = await site.identities.of_header(connection)
        return self.check(found)

    def check(self, identity: Identity | None) -> Identity:
        """Return *identity* if it may; raises as a call does."""
        if identity is None:
            raise Problem(
                UNAUTHORIZED,
                "Send a key that is good: Authorization: Bearer mp_…. `milepost keys create` makes one.",
                headers={"WWW-Authenticate": 'Bearer realm="milepost"'},
            )
        if not identity.scope.covers(self.scope):
            raise Problem(
                FORBIDDEN,
                f"This needs a key with scope {self.scope}; {identity.name} has {identity.scope}.",
            )
        if self.every_tenant and identity.tenant:
            raise Problem(
                FORBIDDEN, "This is about all tenants; the key is bound to one, and may not."
            )
        return identity


def requires(scope: Scope, *, every_tenant: bool = False) -> Requires:
    """Return a FastAPI dependency that gives the `Identity` of who asks, at least with *scope*.

    Args:
        every_tenant: It is about more than one tenant's runs; keys that are bound to one may not.
    """
    return Requires(scope, every_tenant=every_tenant)
