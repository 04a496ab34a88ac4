"""Who is signed in: a cookie that names a key of the API, is signed and ends."""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from secrets import token_hex
from typing import Protocol

from milepost.tasks import Milepost

from ..api.keys import Key, Scope

COOKIE = "milepost_session"
SECONDS = 12 * 3600
"""How long a session lasts at most; a key that is revoked or expires ends it before."""


@dataclass(frozen=True, slots=True)
class Session:
    """One signing in."""

    name: str
    """In whose name commands are noted."""
    scope: Scope
    tenant: str
    """Only runs of this tenant are seen; empty: all."""
    key_id: str
    csrf: str
    """What every form has to send back: pages of others cannot read it."""


class Doorkeeper(Protocol):
    """Knows the keys that are good."""

    def verify(self, text: str) -> Key | None:
        """Return the key that *text* is; None if it is no good one."""

    def find(self, key_id: str) -> Key | None:
        """Return a key by its id, as long as it is good."""

    def redeem(self, code: str) -> Key | None:
        """Return the key that a code stands for that is good once."""


class Sessions:
    """Opens sessions and reads their cookies; nothing is kept of them but the secret they are signed with.

    The secret stands in the run store, so that every process of a deployment takes the others' cookies.
    """

    def __init__(self, app: Milepost, doorkeeper: Doorkeeper) -> None:
        self._app = app
        self._doorkeeper = doorkeeper
        self._secret: bytes | None = None

    def open(self, text: str) -> str | None:
        """Return the cookie for whoever shows the key *text*; None if that is no key."""
        return self._cookie(self._doorkeeper.verify(text))

    def redeem(self, code: str) -> str | None:
        """Return the cookie for whoever shows a code that is good once; None if it is not."""
        return self._cookie(self._doorkeeper.redeem(code))

    def read(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie; None if it is forged or over, or if its key is good no more."""
        key_id = self.key_id(cookie)
        key = self._doorkeeper.find(key_id) if key_id else None
        if key is None or cookie is None:
            return None
        return Session(key.name, key.scope, key.tenant, key.id, self._signature("form", cookie))

    def key_id(self, cookie: str | None) -> str | None:
        """Return the id of a cookie's key, good or not; None if the cookie is forged or over."""
        content, _, signature = (cookie or "").rpartition(".")
        expected = self._signature("session", content)
        if not content or not hmac.compare_digest(signature.encode(), expected.encode()):
            return None
        key_id, ends, _ = content.split(".")
        return key_id if int(ends) > time.time() else None

    def seal(self, session: Session, purpose: str, content: str) -> str:
        """Return what only this deployment can say of *content*, and only to this session."""
        return self._signature(purpose, f"{session.csrf}\n{content}")

    def _cookie(self, key: Key | None) -> str | None:
        if key is None:
            return None
        content = f"{key.id}.{int(time.time()) + SECONDS}.{token_hex(16)}"
        return f"{content}.{self._signature('session', content)}"

    def _signature(self, purpose: str, content: str) -> str:
        if self._secret is None:
            kept = self._app.runs.keep_first("secret", "session", token_hex(32))
            self._secret = kept.encode()
        return hmac.new(self._secret, f"{purpose}\n{content}".encode(), hashlib.sha256).hexdigest()
