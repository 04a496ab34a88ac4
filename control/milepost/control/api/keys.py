"""Keys of the HTTP API: who may do what, on whose runs, until when. The run store has digests only."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from secrets import token_hex, token_urlsafe

from milepost.checkpointing import Misconfigured
from milepost.checkpointing.ids import valid_name
from milepost.tasks.runs import RunStore

_KIND = "api-key"
_PREFIX = "mp"


class Scope(StrEnum):
    """What a key may do; each may do what those before it may."""

    READ = "read"
    """Look at runs, failures, workers and queues."""
    OPERATE = "operate"
    """Start runs and command them."""
    ADMIN = "admin"
    """Drain workers, pause queues, and everything else."""

    def covers(self, needed: Scope) -> bool:
        """Whether who has this scope may do what needs the other."""
        ranks = [*Scope]
        return ranks.index(self) >= ranks.index(needed)


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is kept; the secret itself was shown once, when it was made."""

    id: str
    name: str
    """Of the person or program that has it; commands are noted under it."""
    scope: Scope
    tenant: str = ""
    """Only runs of this tenant are seen; empty: all."""
    created_at: float = 0.0
    expires_at: float | None = None
    """Seconds since 1970, by the clock of whoever asks; None: never."""

    @property
    def is_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= time.time()


class Keys:
    """The keys in one run store."""

    def __init__(self, runs: RunStore) -> None:
        self._runs = runs

    def create(
        self, name: str, scope: Scope, *, tenant: str = "", seconds: float | None = None
    ) -> tuple[str, Key]:
        """Make a key and return its text, which is nowhere kept, and what is kept of it.

        Args:
            seconds: How long it is good; None: until it is revoked.

        Raises:
            InvalidName: Name or tenant breaks the rule for names.
        """
        now, secret = time.time(), token_urlsafe(32)
        key = Key(
            id=token_hex(6),
            name=valid_name(name, "key name"),
            scope=scope,
            tenant=valid_name(tenant, "tenant") if tenant else "",
            created_at=now,
            expires_at=None if seconds is None else now + seconds,
        )
        kept = {**asdict(key), "digest": _digest(secret)}
        self._runs.keep(_KIND, key.id, json.dumps(kept))
        return f"{_PREFIX}_{key.id}_{secret}", key

    def verify(self, text: str) -> Key | None:
        """Return the key that *text* is; None if it is none, was revoked or has expired."""
        prefix, _, rest = text.partition("_")
        key_id, _, secret = rest.partition("_")
        kept = self._runs.kept_one(_KIND, key_id) if prefix == _PREFIX and secret else None
        found = json.loads(kept) if kept else {"digest": ""}
        # Compared even if there is none, so that time tells nobody which ids exist.
        right = hmac.compare_digest(str(found.pop("digest")), _digest(secret))
        if not right or not found:
            return None
        key = Key(**{**found, "scope": Scope(found["scope"])})
        return None if key.is_expired else key

    def find(self, key_id: str) -> Key | None:
        """Return a key by its id, unless it was revoked or has expired."""
        kept = self._runs.kept_one(_KIND, key_id)
        key = None if kept is None else _read(kept)
        return None if key is None or key.is_expired else key

    def all(self) -> list[Key]:
        """Return all keys, oldest first, expired ones too."""
        keys = [_read(kept) for kept in self._runs.kept(_KIND).values()]
        return sorted(keys, key=lambda key: key.created_at)

    def revoke(self, key_id: str) -> None:
        """Let a key be good no more, from the next request on.

        Raises:
            Misconfigured: There is no such key.
        """
        if self._runs.kept_one(_KIND, key_id) is None:
            raise Misconfigured(f"There is no key {key_id}; `milepost keys list` shows them.")
        self._runs.keep(_KIND, key_id, None)


def _read(kept: str) -> Key:
    found = json.loads(kept)
    del found["digest"]
    return Key(**{**found, "scope": Scope(found["scope"])})


def _digest(secret: str) -> str:
    # The secret has 256 random bits: nothing slower is needed to keep it from being guessed.
    return hashlib.sha256(secret.encode()).hexdigest()
