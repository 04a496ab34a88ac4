"""Threads of LangGraph, their checkpoints and writes, as records of a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Any
from uuid import UUID
from zlib import crc32

from ..errors import AlreadyExists, InvalidName, NotFound
from ..ids import valid_name
from ..models import MAIN_LANE, Checkpoint, CheckpointKey, CheckpointMetadata, Kind, Record
from ..serializer import Serializer
from ..stores import CheckpointStore

_TOP = (1 << 64) - 1
_NAMESPACES = "namespaces"
Content = dict[str, Any]
Stored = tuple[CheckpointKey, Content]


class Threads:
    """A thread is a run. A checkpoint stands under the number that its id (a UUID whose time comes first)
    begins with, so it is found without an index, and the last one is the run's last record. What tasks write
    between two checkpoints is a series of its own for each checkpoint; one more names the namespaces.
    """

    def __init__(self, store: CheckpointStore, serializer: Serializer) -> None:
        self._store = store
        self._serializer = serializer

    def last(self, thread: str, namespace: str) -> Content | None:
        """Return the last checkpoint of a namespace."""
        record = self._store.latest(_run(thread), Kind.THREAD, _lane(namespace))
        return None if record is None else self._read(record)

    def writes(self, thread: str, namespace: str, checkpoint_id: str) -> Iterator[Content]:
        """Return what was written since a checkpoint, in the order of writing."""
        return self._series(_run(thread), _writes_lane(namespace, checkpoint_id))

    def put_writes(self, thread: str, namespace: str, checkpoint_id: str, content: Content) -> None:
        """Add something written since a checkpoint."""
        self._append(_run(thread), _writes_lane(namespace, checkpoint_id), content)

    def delete(self, thread: str) -> None:
        """Remove a thread with all it has."""
        self._store.delete_run(_run(thread))

    def _read(self, record: Record) -> Content:
        content: Content = self._serializer.decode(record).state
        return content

    def put(self, thread: str, namespace: str, content: Content) -> None:
        """Write a checkpoint; the same again is no error."""
        number = _number(content["id"])
        while True:
            record = self._record(_key(_run(thread), _lane(namespace), number), content)
            try:
                self._store.put(record)
            except AlreadyExists:
                # The same id again, in another form, or an id of the same time.
                stands = self._read(self._store.get(record.key))
                if stands == content:
                    return
                number += 1
            else:
                return

    def _append(self, run_id: str, lane: str, content: Content) -> None:
        last = next(iter(self._store.history(run_id, Kind.JOURNAL, lane, limit=1).items), None)
        sequence = last.key.sequence + 1 if last else 0
        while True:
            key = CheckpointKey(run_id, sequence, 0, Kind.JOURNAL, lane)
            try:
                self._store.put(self._record(key, content))
            except AlreadyExists:
                sequence += 1
            else:
                return

    def _series(self, run_id: str, lane: str) -> Iterator[Content]:
        """Return what was appended, in the order of writing."""
        for entry in reversed([*self._store.entries(run_id, Kind.JOURNAL, lane)]):
            with suppress(NotFound):
                yield self._read(self._store.get(entry.key))

    def find(self, thread: str, namespace: str, checkpoint_id: str) -> Stored | None:
        """Return the newest form of a checkpoint."""
        number, found = _number(checkpoint_id), None
        while True:
            key = _key(_run(thread), _lane(namespace), number)
            try:
                content = self._read(self._store.get(key))
            except NotFound:
                break
            if content["id"] == checkpoint_id:
                found = key, content
            number += 1
        if found is None:
            # Where ids share their beginning, a removed one leaves a gap.
            for key in self._forms(thread, namespace, checkpoint_id):
                with suppress(NotFound):
                    return key, self._read(self._store.get(key))
        return found

    def contents(self, thread: str, namespace: str) -> Iterator[Stored]:
        """Return the newest form of each checkpoint, last first."""
        seen: set[str] = set()
        for entry in self._store.entries(_run(thread), Kind.THREAD, _lane(namespace)):
            with suppress(NotFound):
                content = self._read(self._store.get(entry.key))
                if content["id"] not in seen:
                    seen.add(content["id"])
                    yield entry.key, content

    def remove(self, thread: str, namespace: str, checkpoint_id: str) -> None:
        """Remove a checkpoint and what was written since."""
        run_id, lane = _run(thread), _writes_lane(namespace, checkpoint_id)
        for entry in [*self._store.entries(run_id, Kind.JOURNAL, lane)]:
            self._store.delete(entry.key)
        for key in self._forms(thread, namespace, checkpoint_id):
            self._store.delete(key)

    def _forms(self, thread: str, namespace: str, checkpoint_id: str) -> list[CheckpointKey]:
        """Return the keys under which a checkpoint was written, newest first; reads all headers."""
        return [
            entry.key
            for entry in self._store.entries(_run(thread), Kind.THREAD, _lane(namespace))
            if self._serializer.metadata(entry.key, entry.header).checkpoint_id == checkpoint_id
        ]

    def threads(self) -> Iterator[str]:
        """Return the names of all threads; reads one record of each."""
        cursor: str | None = None
        while True:
            page = self._store.runs(cursor=cursor)
            for run_id in page.items:
                names = self._series(run_id, _NAMESPACES) if run_id.startswith("lg") else iter(())
                if (first := next(names, None)) is not None:
                    yield first["thread"]
            if (cursor := page.cursor) is None:
                return

    def namespaces(self, thread: str) -> list[str]:
        """Return the namespaces of a thread, the root first."""
        found = self._series(_run(thread), _NAMESPACES)
        return sorted({content["namespace"] for content in found})

    def know(self, thread: str, namespace: str) -> None:
        """Let the thread have the namespace, from before its first checkpoint on; twice is harmless."""
        content = {"thread": thread, "namespace": namespace}
        number = crc32(namespace.encode())
        while True:
            key = CheckpointKey(_run(thread), 0, number, Kind.JOURNAL, _NAMESPACES)
            try:
                self._store.put(self._record(key, content))
            except AlreadyExists:
                if self._read(self._store.get(key)) == content:
                    return
                number += 1
            else:
                return

    def _record(self, key: CheckpointKey, content: Content) -> Record:
        metadata = CheckpointMetadata(
            run_id=key.run_id,
            sequence=key.sequence,
            timeline=key.timeline,
            kind=key.kind,
            lane=key.lane,
            checkpoint_id=content.get("id", ""),
            parent=content.get("parent"),
        )
        return self._serializer.encode(Checkpoint(metadata=metadata, state=content))


def _run(thread: str) -> str:
    """Return the run id of a thread, whose name may hold anything."""
    with suppress(InvalidName):
        return valid_name(f"lg-{thread}")
    return f"lgx-{sha256(thread.encode()).hexdigest()}"


def _lane(namespace: str) -> str:
    return f"ns-{sha256(namespace.encode()).hexdigest()[:32]}" if namespace else MAIN_LANE


def _writes_lane(namespace: str, checkpoint_id: str) -> str:
    name = f"{namespace}\n{checkpoint_id}".encode()
    return f"w-{sha256(name).hexdigest()[:32]}"


def _number(checkpoint_id: str) -> int:
    """Return a number that is in the order of the ids: of a UUID the time, of other names the beginning."""
    with suppress(ValueError):
        return UUID(checkpoint_id).int >> 64
    return int.from_bytes(checkpoint_id.encode()[:8].ljust(8, b"\0"), "big")


def _key(run_id: str, lane: str, number: int) -> CheckpointKey:
    number &= _TOP
    return CheckpointKey(run_id, number & 0xFFFFFFFF, number >> 32, Kind.THREAD, lane)
