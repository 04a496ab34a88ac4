"""Encryption of bodies: AES-GCM with a ring of keys, of which the first writes and all read."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from enum import IntEnum
from hashlib import blake2b
from secrets import token_bytes
from typing import TYPE_CHECKING

from .errors import Corrupt, Misconfigured, MissingExtra, MissingKey
from .ids import valid_name

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12
_SIZES = (16, 24, 32)


class Cipher(IntEnum):
    """How a body is encrypted; the number stands in the envelope."""

    NONE = 0
    AES_GCM = 1


class KeyRing:
    """Keys by name. To rotate, put a new one first, and take the old one out when nothing needs it.

    A sealed body is the length of the key's name (1 byte), the name, a nonce (12) and what AES-GCM makes.

    Raises:
        MissingExtra: ``cryptography`` is not installed.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise MissingExtra("Encryption", "encryption") from None
        self.naming_key = blake2b(b"names of pieces", key=keys[next(iter(keys))]).digest()
        """What digests are made with that stand in the open."""
        self._keys: dict[str, AESGCM] = {name: AESGCM(key) for name, key in keys.items()}
        self._first = next(iter(keys))

    @classmethod
    def parse(cls, text: str) -> KeyRing:
        """Read ``name:base64,name:base64``; each key has 16, 24 or 32 bytes.

        Raises:
            Misconfigured: It is not of that form. No part of a key is shown.
        """
        keys: dict[str, bytes] = {}
        for number, part in enumerate(text.split(","), 1):
            name, _, encoded = part.strip().partition(":")
            try:
                key = b64decode(encoded, validate=True)
                valid_name(name, "key name")
            except ValueError:
                key = b""
            if len(key) not in _SIZES or name in keys:
                raise Misconfigured(
                    f"Encryption key {number} is not of the form name:base64, with a name of its own and 16, "
                    "24 or 32 bytes. One can be made with: openssl rand -base64 32"
                )
            keys[name] = key
        return cls(keys)

    def seal(self, plain: bytes, about: bytes) -> bytes:
        """Encrypt *plain* with the first key, bound to *about*."""
        nonce, name = token_bytes(_NONCE), self._first.encode()
        sealed = self._keys[self._first].encrypt(nonce, plain, about)
        return bytes([len(name)]) + name + nonce + sealed

    def open(self, sealed: bytes, about: bytes) -> bytes:
        """Decrypt what `seal` made with any key of the ring.

        Raises:
            MissingKey: The ring has no key of that name.
            Corrupt: The key of that name is another, or what was sealed, or *about*, was changed.
        """
        from cryptography.exceptions import InvalidTag

        start = 1 + sealed[0] if sealed else 0
        name = sealed[1:start].decode("ascii", "replace")
        if name not in self._keys:
            raise MissingKey(
                f"The checkpoint is encrypted with key {name!a}, which is not in the ring "
                "(MILEPOST_ENCRYPTION_KEYS). Was it rotated away?",
                key_name=name,
            )
        nonce, body = sealed[start : start + _NONCE], sealed[start + _NONCE :]
        try:
            return self._keys[name].decrypt(nonce, body, about)
        except (InvalidTag, ValueError):
            raise Corrupt(
                f"The checkpoint does not open with key {name}: the key is another one of that name, or the "
                "record was changed."
            ) from None
