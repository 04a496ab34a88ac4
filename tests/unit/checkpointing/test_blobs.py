"""Blobs: written and read as streams."""

from __future__ import annotations

import io
import random
import shutil
from contextlib import suppress
from typing import Any

import pytest

from milepost.checkpointing import (
    Blob,
    CheckpointKey,
    CheckpointManager,
    Corrupt,
    InvalidName,
    Kind,
    Misconfigured,
    NotFound,
    Record,
    Unavailable,
)
from milepost.checkpointing.blob_streams import PART_BYTES
from milepost.checkpointing.stores.memory import MemoryCheckpointStore


@pytest.fixture
def store() -> MemoryCheckpointStore:
    return MemoryCheckpointStore()


@pytest.fixture
def manager(store: MemoryCheckpointStore) -> CheckpointManager:
    return CheckpointManager(store)


def written(
    manager: CheckpointManager, data: bytes, name: str = "rows", chunk: int = 999_983
) -> Blob:
    with manager.write_blob("run", name) as out:
        for start in range(0, len(data), chunk):
            assert out.write(data[start : start + chunk]) == len(data[start : start + chunk])
    return out.blob


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 10_000_000])
def test_what_was_written_is_read(manager: CheckpointManager, size: int) -> None:
    data = random.Random(size).randbytes(size)
    blob = written(manager, data)
    assert (blob.size_bytes, len(blob.parts)) == (size, -(-size // PART_BYTES))
    with manager.open_blob(blob) as stream:
        assert stream.read() == data
    with manager.open_blob(blob) as stream:
        shutil.copyfileobj(stream, copy := io.BytesIO())
    assert copy.getvalue() == data


def test_reading_can_begin_anywhere(manager: CheckpointManager) -> None:
    data = random.Random(1).randbytes(9_000_000)
    blob = written(manager, data)
    with manager.open_blob(blob) as stream:
        for start in (8_999_990, 0, PART_BYTES - 5, 2 * PART_BYTES):
            stream.seek(start)
            assert stream.read(10) == data[start : start + 10]
        stream.seek(-3, io.SEEK_END)
        assert stream.read() == data[-3:]
        stream.seek(10, io.SEEK_END)
        assert stream.read() == b""


def test_a_blob_in_a_state_comes_back(manager: CheckpointManager) -> None:
    blob = written(manager, b"abc" * 1000)
    manager.create("run", {"step": 1, "rows": blob})
    found = manager.restore("run")
    assert found is not None
    assert found.state == {"step": 1, "rows": blob}
    with manager.open_blob(found.state["rows"]) as stream:
        assert stream.read(3) == b"abc"


def test_the_same_content_is_kept_once(
    manager: CheckpointManager, store: MemoryCheckpointStore
) -> None:
    data = random.Random(2).randbytes(PART_BYTES * 2)
    first, second = written(manager, data, "a"), written(manager, data + b"more", "b")
    assert first.parts == second.parts[:2]
    assert sum(path.startswith("blob/") for path in store._runs["run"]) == 3


def test_a_blob_that_is_not_whole_is_none(manager: CheckpointManager) -> None:
    writer = manager.write_blob("run", "rows")
    with suppress(ZeroDivisionError), writer:
        writer.write(b"abc")
        raise ZeroDivisionError
    for wanted in (writer, manager.write_blob("run", "other")):
        with pytest.raises(Misconfigured, match="not whole yet"):
            _ = wanted.blob


def test_names_keep_the_rule(manager: CheckpointManager) -> None:
    for run_id, name in (("../x", "rows"), ("run", "../x"), ("run", "")):
        with pytest.raises(InvalidName):
            manager.write_blob(run_id, name)
    forged = Blob(name="rows", run_id="run", size_bytes=5, parts=("../../etc",))
    with pytest.raises(InvalidName), manager.open_blob(forged) as stream:
        stream.read()


def test_the_guard_is_asked_before_each_part(manager: CheckpointManager) -> None:
    asked: list[None] = []

    def guard() -> None:
        asked.append(None)
        if len(asked) == 2:
            raise PermissionError

    with pytest.raises(PermissionError), manager.write_blob("run", "rows", guard) as out:
        out.write(bytes(3 * PART_BYTES))


def test_damage_and_absence_are_said(
    manager: CheckpointManager, store: MemoryCheckpointStore
) -> None:
    blob = written(manager, random.Random(3).randbytes(PART_BYTES + 100))
    key = CheckpointKey("run", 0, 0, Kind.BLOB, f"stream-{blob.parts[1]}")
    record = store.get(key)
    spoilt: Any = Record(key, record.header, b"x" + record.body[1:])
    store._runs["run"][key.path] = spoilt
    with manager.open_blob(blob) as stream:
        assert len(stream.read(PART_BYTES)) == PART_BYTES
        with pytest.raises(Corrupt):
            stream.read(1)
    manager.delete_run("run")
    with pytest.raises(NotFound), manager.open_blob(blob) as stream:
        stream.read(1)


def test_a_blob_that_lost_a_part_is_not_finished(
    manager: CheckpointManager, store: MemoryCheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(records: Any) -> None:
        raise Unavailable("away")

    with manager.write_blob("run", "rows") as out:
        with monkeypatch.context() as patch:
            patch.setattr(store, "put_all", away)
            with pytest.raises(Unavailable):
                out.write(bytes(PART_BYTES))
        with pytest.raises(Misconfigured, match="has lost a part"):
            out.write(bytes(PART_BYTES))
    with pytest.raises(Misconfigured, match="not whole yet"):
        _ = out.blob


def test_positions_before_the_beginning_are_refused(manager: CheckpointManager) -> None:
    with manager.open_blob(written(manager, b"abc")) as stream, pytest.raises(ValueError):
        stream.seek(-5, io.SEEK_END)
