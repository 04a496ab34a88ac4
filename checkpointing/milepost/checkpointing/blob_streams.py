"""Blobs as streams: parts are written and read one by one."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .blob import Blob
from .errors import Misconfigured
from .ids import valid_name
from .models import CheckpointKey, Kind

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from .serializer import Serializer
    from .stores import CheckpointStore

PART_BYTES = 4 * 1024 * 1024
"""What is in memory of a blob that is written or read; its last part is smaller."""


class BlobWriter:
    """Takes the bytes of a blob, and has the `blob` when its ``with`` block has ended well.

    Each part is written when it is full. Parts of the same content are kept once in a run. What was written
    before an error or a crash belongs to no blob, and goes with the run.

    Args:
        guard: Raises if nothing may be written any more.
    """

    def __init__(
        self,
        store: CheckpointStore,
        serializer: Serializer,
        run_id: str,
        name: str,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._serializer = serializer
        self._run_id = valid_name(run_id)
        self._name = valid_name(name, "name of a blob")
        self._guard = guard
        self._buffer = bytearray()
        self._size = 0
        self._parts: list[str] = []
        self._written: set[str] = set()
        self._failed = False
        self._blob: Blob | None = None

    @property
    def blob(self) -> Blob:
        """What was written.

        Raises:
            Misconfigured: The ``with`` block has not ended, or not well.
        """
        if self._blob is None:
            raise Misconfigured(
                f"Blob {self._name} is not whole yet: take it after the end of its with block."
            )
        return self._blob

    def write(self, data: ReadableBuffer) -> int:
        """Add bytes; return how many.

        Raises:
            Unavailable, Refused: As stores do; the blob cannot be finished then.
            Misconfigured: It was gone on with after that.
        """
        view = memoryview(data).cast("B")
        for start in range(0, len(view), PART_BYTES):
            self._buffer += view[start : start + PART_BYTES]
            if len(self._buffer) >= PART_BYTES:
                self._put(bytes(self._buffer[:PART_BYTES]))
                del self._buffer[:PART_BYTES]
        return len(view)

    def _put(self, part: bytes) -> None:
        if self._failed:
            raise Misconfigured(f"Blob {self._name} has lost a part; write it anew.")
        self._failed = True
        self._guard()
        digest = self._serializer.digest(part)
        if digest not in self._written:
            self._store.put_all([self._serializer.piece(_key(self._run_id, digest), part)])
        self._written.add(digest)
        self._parts.append(digest)
        self._size += len(part)
        self._failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and not self._failed:
            if self._buffer:
                self._put(bytes(self._buffer))
            self._buffer.clear()
            self._blob = Blob(
                name=self._name,
                run_id=self._run_id,
                size_bytes=self._size,
                parts=tuple(self._parts),
            )


class BlobReader(io.RawIOBase):
    """Reads a blob part by part; each is proven before any byte of it is given out.

    Raises, when it is read:
        NotFound: A part is not there: its run was removed.
        Corrupt: A part is damaged.
    """

    def __init__(self, store: CheckpointStore, serializer: Serializer, blob: Blob) -> None:
        self._store = store
        self._serializer = serializer
        self._blob = blob
        self._at = 0
        self._number = -1
        self._part = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._blob.size_bytes}[whence]
        if start + offset < 0:
            raise ValueError(f"negative position {start + offset}")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        number, offset = divmod(self._at, PART_BYTES)
        if self._at >= self._blob.size_bytes or number >= len(self._blob.parts):
            return 0
        if number != self._number:
            key = _key(self._blob.run_id, self._blob.parts[number])
            size = min(PART_BYTES, self._blob.size_bytes - number * PART_BYTES)
            self._part = self._serializer.open_piece(self._store.get(key), size)
            self._number = number
        given = self._part[offset : offset + len(view)]
        view[: len(given)] = given
        self._at += len(given)
        return len(given)


def _key(run_id: str, digest: str) -> CheckpointKey:
    lane = f"stream-{valid_name(digest, 'digest')}"
    return CheckpointKey(valid_name(run_id), 0, 0, Kind.BLOB, lane)
