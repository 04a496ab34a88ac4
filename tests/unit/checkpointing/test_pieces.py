"""Large states in pieces that the checkpoints of a run share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from milepost.checkpointing import (
    Checkpoint,
    CheckpointKey,
    CheckpointManager,
    CheckpointMetadata,
    CheckpointSettings,
    Corrupt,
    Kind,
    MissingKey,
    Record,
    Serializer,
    TooLarge,
)
from milepost.checkpointing.envelope import CodecId, open_header
from milepost.checkpointing.manifest import Manifest
from support.pieces import KEYS, SMALL, Watched, manager, text, written


def test_a_large_state_is_read_as_it_was_written() -> None:
    store = Watched()
    state = {"rows": text(1), "more": [text(2, 200_000)], "n": 7}
    manager(store).create("run", state, messages=[{"text": text(3, 300_000)}], step_name="load")
    found = manager(store).restore("run")
    assert found is not None
    assert (found.state, found.metadata.stage) == (state, "load")
    assert found.messages == [{"text": text(3, 300_000)}]
    assert store.puts["blob"] > 4
    assert store.latest("run", Kind.MANUAL).body.__len__() < 5000  # type: ignore[union-attr]


def test_a_small_state_is_one_record() -> None:
    store = Watched()
    manager(store).create("run", {"rows": "x" * 60_000})
    assert store.puts == {"manual": 1}


def test_only_what_has_changed_is_written() -> None:
    store = Watched()
    ours = manager(store)
    fields = {f"field{n}": text(n, 100_000) for n in range(100)}
    ours.create("run", fields)
    first = sum(len(r.body) for r in store.blobs().values())
    for step in range(10):
        fields[f"field{step * 7}"] = text(1000 + step, 100_000)
        ours.create("run", fields)
        assert ours.restore("run").state == fields  # type: ignore[union-attr]
    whole = sum(len(r.body) for r in store.blobs().values())
    # A changed field of 100 kB touches two or three pieces of 256 KiB on average.
    assert whole < 1.9 * first
    assert ours.usage("run").bytes == sum(
        len(r.header) + len(r.body) for r in store._runs["run"].values()
    )


def test_what_is_inserted_moves_nothing_else() -> None:
    store = Watched()
    ours = manager(store)
    rows = [text(n, 1000) for n in range(4000)]
    ours.create("run", rows)
    before = store.puts["blob"]
    ours.create("run", ["inserted", *rows])
    assert store.puts["blob"] - before <= 2


def test_another_process_shares_as_well() -> None:
    store = Watched()
    state = {"rows": text(1)}
    manager(store).create("run", state)
    before = store.puts["blob"]
    manager(store).create("run", state)
    assert store.puts["blob"] == before


class Rows(BaseModel):
    rows: list[str]


@pytest.mark.parametrize("codec", ["json", "msgpack", "pickle"])
@pytest.mark.parametrize("keys", [None, KEYS])
def test_every_codec_and_cipher(codec: Any, keys: str | None) -> None:
    settings = CheckpointSettings(
        blob_from_bytes=64 * 1024, codec=codec, signing_key="s" * 16, encryption_keys=keys
    )
    store = Watched()
    state = Rows(rows=[text(n, 10_000) for n in range(50)])
    ours = CheckpointManager(store, settings)
    for _ in range(2):
        ours.create("run", state)
    assert CheckpointManager(store, settings).restore("run", state_type=Rows).state == state  # type: ignore[union-attr]
    blobs = store.blobs()
    assert len(blobs) == store.puts["blob"] > 1
    if keys:
        bare = Watched()
        open_settings = settings.model_copy(update={"encryption_keys": None})
        CheckpointManager(bare, open_settings).create("run", state)
        told = [{p.rpartition("/")[0][-32:] for p in found} for found in (bare.blobs(), blobs)]
        assert not told[0] & told[1], "names tell nothing of the content"
        with pytest.raises(MissingKey):
            CheckpointManager(store, SMALL).restore("run")


def test_a_missing_piece_is_damage() -> None:
    store = written()
    store.delete(CheckpointKey.from_path("run", next(iter(store.blobs()))))
    with pytest.raises(Corrupt, match="A piece of it is missing"):
        manager(store).restore("run")
    assert manager(store).recover("run", fresh=True).checkpoint is None


def test_a_changed_or_swapped_piece_is_damage() -> None:
    for spoil in ("flip", "swap", "empty", "whole"):
        store = written()
        paths = [*store.blobs()]
        record, other = (store._runs["run"][path] for path in paths[:2])
        body = {
            "flip": bytes([record.body[0] ^ 1]) + record.body[1:],
            "swap": other.body,
            "empty": b"",
            "whole": b"null\n[]\n[]\n{}",
        }[spoil]
        store._runs["run"][paths[0]] = Record(record.key, record.header, body)
        with pytest.raises(Corrupt):
            manager(store).restore("run")
        renamed = Record(record.key, other.header, other.body)
        store._runs["run"][paths[0]] = renamed
        with pytest.raises(Corrupt):
            manager(store).restore("run")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", b"[]", b"[1]", b'[99,""]', b'[5,""]', b'[true,""]', b"null", b'["a",""]'),
        b'[1,"",[1,2]]',
        b'[1,"",3]',
        b'[1,7,["%s","%s",1,1]]' % (b"a" * 32, b"b" * 16),
        b'[1,"",["%s","%s",-1,1]]' % (b"a" * 32, b"b" * 16),
        b'[1,"",["%s","%s","1",1]]' % (b"a" * 32, b"b" * 16),
        b'[1,"",["%s","%s",1,null]]' % (b"a" * 32, b"b" * 16),
        b'[1,"",["../../../../../../../../../../../x","%s",1,1]]' % (b"b" * 16),
        b'[1,"",["%s",["b"],1,1]]' % (b"a" * 32),
    ],
)
def test_what_is_no_list_of_pieces_is_damage(body: bytes) -> None:
    with pytest.raises(Corrupt, match="list of a checkpoint's pieces"):
        Manifest.load(body, "id")


def test_a_checkpoint_is_no_piece() -> None:
    """Even one of its size that was written, whole and sound, under the name of a piece."""
    store = written()
    path, piece = next(iter(store.blobs().items()))
    sound, header = Serializer(SMALL), open_header(piece.header)
    forged = sound._record(piece.key, header.metadata, CodecId.JSON, piece.body)
    assert (forged.key.path, len(forged.body)) == (path, header.inflated_bytes)
    store._runs["run"][path] = forged
    with pytest.raises(Corrupt, match="is no piece"):
        manager(store).restore("run")


def test_the_limit_holds_for_the_whole() -> None:
    store = written()
    tight = CheckpointSettings(max_record_bytes=500_000)
    with pytest.raises(TooLarge, match="Its pieces come to"):
        CheckpointManager(store, tight).restore("run")
    with pytest.raises(TooLarge, match="Keep large data in blobs"):
        CheckpointManager(store, tight).create("other", {"rows": text(1)})
    assert store.blobs("other") == {}


def test_a_serializer_without_a_store_makes_no_pieces() -> None:
    alone = Serializer(SMALL)
    metadata = CheckpointMetadata(run_id="run", sequence=0)
    record = alone.encode(Checkpoint(metadata=metadata, state={"rows": text(1)}))
    assert record.pieces == ()
    adapter: TypeAdapter[Any] = TypeAdapter(dict)
    assert alone.decode(record, state_type=adapter).state == {"rows": text(1)}


def test_pieces_can_have_a_store_of_their_own(tmp_path: Any) -> None:
    settings = SMALL.model_copy(update={"blobs": f"file://{tmp_path}"})
    store = Watched()
    with CheckpointManager(store, settings) as ours:
        ours.create("run", {"rows": text(1)})
        assert store.puts == {"manual": 1}
        assert ours.blobs.runs().items == ("run",)
        assert ours.restore("run").state == {"rows": text(1)}  # type: ignore[union-attr]
        assert ours.delete_run("run") > 1
        assert ours.blobs.runs().items == ()


@pytest.mark.fault("S3")
def test_a_manifest_cannot_say_less_than_it_holds() -> None:
    store = written()
    ours = manager(store)
    last = store.latest("run", Kind.MANUAL)
    assert last is not None
    manifest = ours.serializer.manifest(last)
    assert manifest is not None
    for lie in (0, manifest.pieces[0].plain_bytes - 1):
        pieces = tuple(replace(piece, plain_bytes=lie) for piece in manifest.pieces) * 300
        forged = Manifest(manifest.codec, pieces).dump()
        bomb = ours.serializer._record(
            last.key, open_header(last.header).metadata, CodecId.MANIFEST, forged
        )
        store._runs["run"][last.key.path] = bomb
        with pytest.raises((Corrupt, TooLarge)):
            ours.restore("run")


def test_how_it_is_stored_makes_no_difference() -> None:
    store = Watched()
    ours = manager(store)
    assert ours.create("run", {"rows": text(1)}) == ours.restore("run")
