"""Pickle, for what no table can name: only where it was switched on, and only what we have signed."""

from __future__ import annotations

import hmac
import pickle
from hashlib import sha256

from ..envelope import CodecId
from ..errors import Corrupt, NotSerializable
from .base import Adapter, Codec, Parts

_SIGNATURE = 32


class PickleCodec(Codec):
    """A signature (HMAC-SHA256 over what the body is bound to, and the pickle), then the pickle.

    Loading a pickle runs what is in it. So it is looked at only after the signature was found to be made
    with the key, for this very checkpoint of this very run.
    """

    id = CodecId.PICKLE

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encode(self, parts: Parts, adapter: Adapter | None, about: bytes) -> bytes:
        try:
            data = pickle.dumps(tuple(parts), protocol=5)
        except Exception as error:
            raise NotSerializable(
                f"state cannot be kept in a checkpoint: it cannot be pickled ({error}).",
                path="state",
            ) from error
        return self._sign(about, data) + data

    def decode(self, body: bytes, adapter: Adapter | None, about: bytes) -> Parts:
        signature, data = body[:_SIGNATURE], body[_SIGNATURE:]
        if not hmac.compare_digest(signature, self._sign(about, data)):
            raise Corrupt(
                "The pickle is not signed with this key for this checkpoint; it is not loaded."
            )
        try:
            parts = Parts(*pickle.loads(data))  # noqa: S301 - signed by us
        except Exception as error:
            raise Corrupt(f"The pickle cannot be loaded: {error}") from error
        return (
            parts if adapter is None else parts._replace(state=adapter.validate_python(parts.state))
        )

    def _sign(self, about: bytes, data: bytes) -> bytes:
        return hmac.digest(self._key, len(about).to_bytes(4, "big") + about + data, sha256)
