"""The contract of a codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from pydantic import TypeAdapter

from ..envelope import CodecId

Adapter = TypeAdapter[Any]


class Parts(NamedTuple):
    """What of a checkpoint goes into its body."""

    state: Any
    messages: Any
    tool_calls: Any
    context: Any


class Codec(ABC):
    """Writes and reads bodies of one format; which wrote a body stands in its envelope."""

    id: ClassVar[CodecId]

    @abstractmethod
    def encode(self, parts: Parts, adapter: Adapter | None, about: bytes) -> bytes:
        """Write a body.

        Args:
            adapter: The type of the state; without one it is JSON or of the table of types.
            about: What the body is bound to; the same is needed to read it.

        Raises:
            NotSerializable: A value cannot be kept; its path says which.
        """

    @abstractmethod
    def decode(self, body: bytes, adapter: Adapter | None, about: bytes) -> Parts:
        """Read a body that was not changed since `encode`.

        Raises:
            Corrupt: It is none, or holds a type that is not known here.
            pydantic.ValidationError: The state is sound but not of the adapter's type.
        """
