"""Of which pieces a large body consists."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from .envelope import CodecId
from .errors import Corrupt

_DIGEST = re.compile(r"[0-9a-f]{32}")
_OWNER = re.compile(r"[0-9a-f]{16}")
_CODECS = frozenset(CodecId) - {CodecId.MANIFEST, CodecId.PIECE}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a body that stands by itself."""

    digest: str
    """Of its content."""
    owner: str
    """Of the writing that made it, of which there is no second: nobody else writes or removes it."""
    plain_bytes: int
    stored_bytes: int

    @property
    def lane(self) -> str:
        """The lane of its record."""
        return f"{self.owner}-{self.digest}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The pieces of a body in their order, and the codec that wrote it.

    A checkpoint refers to pieces of the one before it where their content is the same, and to no others but
    its own. So the checkpoints that refer to a piece stand in a row, and whether it is needed can be told
    from the neighbours of what is removed.
    """

    codec: CodecId
    pieces: tuple[Piece, ...]
    base: str = ""
    """The `checkpoint_id` of the one before it, if it has pieces of that."""
    of: str = ""
    """The `checkpoint_id` of the checkpoint whose body it is."""

    @property
    def plain_bytes(self) -> int:
        """The size of the body."""
        return sum(piece.plain_bytes for piece in self.pieces)

    def dump(self) -> bytes:
        """Write it as JSON."""
        rows = [[p.digest, p.owner, p.plain_bytes, p.stored_bytes] for p in self.pieces]
        return json.dumps([self.codec, self.base, *rows], separators=(",", ":")).encode()

    @classmethod
    def load(cls, body: bytes, of: str) -> Manifest:
        """Read what `dump` wrote, believing nothing of it.

        Raises:
            Corrupt: It is something else.
        """
        try:
            codec, base, *rows = json.loads(body)
            pieces = tuple(_piece(*row) for row in rows)
            if type(codec) is not int or codec not in _CODECS or not isinstance(base, str):
                raise ValueError(f"codec {codec!r:.20} on {base!r:.40}")
        except (TypeError, ValueError) as error:
            raise Corrupt(f"The list of a checkpoint's pieces cannot be read: {error}") from error
        return cls(CodecId(codec), pieces, base, of)


def _piece(digest: object, owner: object, plain_bytes: object, stored_bytes: object) -> Piece:
    named = isinstance(digest, str) and isinstance(owner, str)
    if not named or not _DIGEST.fullmatch(str(digest)) or not _OWNER.fullmatch(str(owner)):
        raise ValueError(f"a piece is called {owner!r:.40} {digest!r:.40}")
    for size in (plain_bytes, stored_bytes):
        if type(size) is not int or size < 0:
            raise ValueError(f"a piece has {size!r:.40} bytes")
    return Piece(str(digest), str(owner), plain_bytes, stored_bytes)  # type: ignore[arg-type]
