"""Compression of bodies, with a bound on what inflating may yield."""

from __future__ import annotations

import gzip
import zlib
from enum import IntEnum

import zstandard

from .errors import Corrupt, TooLarge

_LEVEL = 3


class Compression(IntEnum):
    """How a body is compressed; the number stands in the envelope."""

    NONE = 0
    ZSTD = 1
    GZIP = 2


def deflate(
    data: bytes, *, threshold_bytes: int, by: Compression = Compression.ZSTD
) -> tuple[Compression, bytes]:
    """Compress *data* if it has at least *threshold_bytes* and becomes smaller by it."""
    if len(data) < threshold_bytes or by is Compression.NONE:
        return Compression.NONE, data
    if by is Compression.ZSTD:
        packed = zstandard.ZstdCompressor(level=_LEVEL).compress(data)
    else:
        packed = gzip.compress(data, compresslevel=6, mtime=0)
    return (by, packed) if len(packed) < len(data) else (Compression.NONE, data)


def inflate(data: bytes, compression: Compression, *, size_bytes: int, limit_bytes: int) -> bytes:
    """Undo `deflate`, never holding more than *limit_bytes* of output.

    Args:
        size_bytes: What the envelope says the result has.
        limit_bytes: What this process accepts, whatever the envelope says.

    Raises:
        TooLarge: The result would be over the limit. Nothing was inflated.
        Corrupt: The result is not *size_bytes* long, or *data* is no such frame.
    """
    if size_bytes > limit_bytes:
        raise TooLarge(
            f"The checkpoint inflates to {size_bytes} bytes; at most {limit_bytes} are accepted "
            "(MILEPOST_MAX_RECORD_BYTES).",
            size_bytes=size_bytes,
            limit_bytes=limit_bytes,
        )
    if compression is Compression.ZSTD:
        try:
            # zstandard allocates what the frame announces, whatever it is given as a maximum.
            if zstandard.frame_content_size(data) == size_bytes:
                data = zstandard.ZstdDecompressor().decompress(data)
            else:
                raise Corrupt(f"The checkpoint's body is not a frame of {size_bytes} bytes.")
        except zstandard.ZstdError as error:
            raise Corrupt("The checkpoint's body does not inflate.") from error
    elif compression is Compression.GZIP:
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            data = unpacker.decompress(data, size_bytes + 1)
        except zlib.error as error:
            raise Corrupt("The checkpoint's body does not inflate.") from error
        if not unpacker.eof or unpacker.unused_data:
            raise Corrupt(f"The checkpoint's body is not a member of {size_bytes} bytes.")
    if len(data) != size_bytes:
        raise Corrupt(f"The checkpoint's body has {len(data)} bytes; {size_bytes} were written.")
    return data
