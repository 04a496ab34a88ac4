"""Of which pieces a large body consists."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass

from .envelope import CodecId
from .errors import Corrupt


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a body that stands by itself, named by its content and by the checkpoint that wrote it."""

    digest: str
    timeline: int
    sequence: int
    plain_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The pieces of a body in their order, and the codec that wrote it.

    A checkpoint refers to pieces of the one before it where their content is the same, and to no others but
    its own. So the checkpoints that refer to a piece stand in a row, and whether it is needed can be told
    from the neighbours of what is removed.
    """

    codec: CodecId
    pieces: tuple[Piece, ...]

    @property
    def plain_bytes(self) -> int:
        """The size of the body."""
        return sum(piece.plain_bytes for piece in self.pieces)

    def dump(self) -> bytes:
        """Write it as JSON."""
        return json.dumps([self.codec, *map(astuple, self.pieces)], separators=(",", ":")).encode()

    @classmethod
    def load(cls, body: bytes) -> Manifest:
        """Read what `dump` wrote.

        Raises:
            Corrupt: It is something else.
        """
        try:
            codec, *pieces = json.loads(body)
            return cls(CodecId(codec), tuple(Piece(*piece) for piece in pieces))
        except (TypeError, ValueError) as error:
            raise Corrupt(f"The list of a checkpoint's pieces cannot be read: {error}") from error
