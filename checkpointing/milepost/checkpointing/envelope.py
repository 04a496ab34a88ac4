"""The bytes around a checkpoint: magic, format, codec, compression, lengths, checksums.

    header = MAGIC(4) format(1) codec(1) compression(1) cipher(1)
             metadata length(4) body length(8) inflated length(8)
             body checksum(16) header checksum(16) metadata(JSON)

Integers are big-endian. Checksums are BLAKE2b of 16 bytes; the header's covers all of the header
but itself, and with it the body's, so that no single byte of either can change unseen. They find
damage, not forgery: against people who can write to the store, encrypt.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b

from .compression import Compression
from .encryption import Cipher
from .errors import Corrupt, UnknownFormat

MAGIC = b"MPCK"
FORMAT = 1
_FIXED = struct.Struct(">4sBBBBIQQ16s")
_SUM = 16
PREFIX = _FIXED.size + _SUM
"""How many bytes stand before the metadata."""


class CodecId(IntEnum):
    """Which codec wrote the body; the number stands in the envelope."""

    JSON = 1
    TYPED_JSON = 2
    MSGPACK = 3
    PICKLE = 4
    MANIFEST = 5
    """The body is a list of the pieces that hold the real one."""
    PIECE = 6
    """The body is a part of another."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says, once its checksum was found right."""

    codec: CodecId
    compression: Compression
    cipher: Cipher
    body_bytes: int
    inflated_bytes: int
    body_checksum: bytes
    metadata: bytes


def seal(
    metadata: bytes,
    body: bytes,
    *,
    codec: CodecId,
    compression: Compression,
    inflated_bytes: int,
    cipher: Cipher = Cipher.NONE,
) -> bytes:
    """Return the header that proves *metadata* and *body*."""
    fixed = _FIXED.pack(
        MAGIC,
        FORMAT,
        codec,
        compression,
        cipher,
        len(metadata),
        len(body),
        inflated_bytes,
        _digest(body),
    )
    return fixed + _digest(fixed + metadata) + metadata


def open_header(header: bytes) -> Header:
    """Check and read a header.

    Raises:
        UnknownFormat: Its format, codec or compression is not known here.
        Corrupt: Anything else is wrong with it.
    """
    if len(header) < PREFIX or header[:4] != MAGIC:
        raise Corrupt("This is no Milepost checkpoint: its first bytes are not the magic ones.")
    _, form, codec, compression, cipher, meta_bytes, body_bytes, inflated, body_sum = (
        _FIXED.unpack_from(header)
    )
    if form != FORMAT:
        raise UnknownFormat(
            f"The checkpoint has format {form}; this Milepost reads {FORMAT}. "
            "Upgrade Milepost to read it."
        )
    metadata = header[PREFIX:]
    if len(metadata) != meta_bytes:
        raise Corrupt(f"The header has {len(metadata)} bytes of metadata, not {meta_bytes}.")
    if header[_FIXED.size : PREFIX] != _digest(header[: _FIXED.size] + metadata):
        raise Corrupt("The header's checksum does not match.")
    try:
        known = CodecId(codec), Compression(compression), Cipher(cipher)
    except ValueError as error:
        raise UnknownFormat(
            f"Codec {codec}, compression {compression} or cipher {cipher} is unknown here."
        ) from error
    return Header(*known, body_bytes, inflated, body_sum, metadata)


def check_body(header: Header, body: bytes) -> None:
    """Check that *body* is the one the header was sealed with.

    Raises:
        Corrupt: It is not.
    """
    if len(body) != header.body_bytes:
        raise Corrupt(f"The body has {len(body)} bytes; {header.body_bytes} were written.")
    if _digest(body) != header.body_checksum:
        raise Corrupt("The body's checksum does not match.")


def header_bytes(data: bytes) -> int:
    """Return how long the header is that *data* begins with; of what is none, all there is."""
    if len(data) < PREFIX or data[:4] != MAGIC:
        return len(data)
    return PREFIX + int(_FIXED.unpack_from(data)[5])


def split(data: bytes) -> tuple[bytes, bytes]:
    """Cut header and body, kept as one string, apart again.

    What does not begin as a header does is all header: `open_header` finds out.
    """
    end = header_bytes(data)
    return data[:end], data[end:]


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_SUM).digest()
