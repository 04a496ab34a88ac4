"""Encrypted, signed and compressed bodies: what is missing, wrong, stripped or swapped is said by name."""

from __future__ import annotations

import pickle
import tracemalloc
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from milepost.checkpointing import (
    Checkpoint,
    CheckpointMetadata,
    CheckpointSettings,
    Corrupt,
    Misconfigured,
    MissingKey,
    NotSerializable,
    Record,
    Serializer,
    TooLarge,
    UnknownFormat,
    Unprotected,
)
from milepost.checkpointing.compression import Compression
from milepost.checkpointing.encryption import Cipher
from milepost.checkpointing.envelope import CodecId, open_header, seal

OLD, NEW = (f"{name}:{b64encode(name.encode() * 8).decode()}" for name in ("2025", "2026"))
SECRET = {"card": "4242-canary", "rows": list(range(2000))}
SIGNED = {"codec": "pickle", "signing_key": "a signing key of ours"}


def serializer(**settings: Any) -> Serializer:
    return Serializer(CheckpointSettings.model_validate(settings))


def encoded(by: Serializer, state: Any = SECRET, sequence: int = 0, run_id: str = "run") -> Record:
    metadata = CheckpointMetadata(run_id=run_id, sequence=sequence)
    return by.encode(Checkpoint(metadata=metadata, state=state))


def resealed(record: Record, **changes: Any) -> Record:
    """Give a record a sound envelope that says something else."""
    header = open_header(record.header)
    values: dict[str, Any] = {
        "codec": header.codec,
        "compression": header.compression,
        "cipher": header.cipher,
        "inflated_bytes": header.inflated_bytes,
        "metadata": header.metadata,
        "body": record.body,
        **changes,
    }
    return Record(record.key, seal(**values), values["body"])


@pytest.mark.parametrize("codec", ["json", "msgpack", "pickle"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("keys", [None, f"{NEW},{OLD}"])
def test_what_was_encoded_is_decoded(codec: str, compression: str, keys: str | None) -> None:
    settings = {**SIGNED, "codec": codec, "compression": compression, "encryption_keys": keys}
    by = serializer(**settings)
    record = encoded(by)
    assert by.decode(record).state == SECRET
    header = open_header(record.header)
    assert header.compression is Compression[compression.upper()]
    assert header.cipher is (Cipher.AES_GCM if keys else Cipher.NONE)
    assert (b"canary" in record.body) is (keys is None and compression == "none")


def test_the_same_state_is_never_encrypted_alike() -> None:
    by = serializer(encryption_keys=NEW)
    assert encoded(by).body != encoded(by).body


@pytest.mark.fault("F65")
def test_keys_are_rotated_by_putting_a_new_one_first() -> None:
    before = encoded(serializer(encryption_keys=OLD))
    during = serializer(encryption_keys=f"{NEW},{OLD}")
    assert during.decode(before).state == SECRET
    assert serializer(encryption_keys=NEW).decode(encoded(during)).state == SECRET
    with pytest.raises(MissingKey, match=r"key '2025', which is not in the ring") as caught:
        serializer(encryption_keys=NEW).decode(before)
    assert caught.value.key_name == "2025"
    assert caught.value.key == before.key


@pytest.mark.fault("F65")
def test_without_keys_nothing_opens() -> None:
    with pytest.raises(MissingKey, match="there are no keys"):
        serializer().decode(encoded(serializer(encryption_keys=NEW)))


@pytest.mark.fault("F65")
def test_another_key_of_that_name_does_not_open() -> None:
    other = f"2026:{b64encode(b'x' * 32).decode()}"
    with pytest.raises(Corrupt, match="does not open with key 2026"):
        serializer(encryption_keys=other).decode(encoded(serializer(encryption_keys=NEW)))


@pytest.mark.fault("F67", "S9")
def test_what_is_not_encrypted_is_refused_until_that_is_accepted() -> None:
    plain = encoded(serializer())
    with pytest.raises(Unprotected, match="not encrypted, though there are keys"):
        serializer(encryption_keys=NEW).decode(plain)
    during = serializer(encryption_keys=NEW, accept_unencrypted=True)
    assert during.decode(plain).state == SECRET


@pytest.mark.fault("S9")
def test_a_stripped_cipher_is_not_believed() -> None:
    by = serializer(encryption_keys=NEW)
    stripped = resealed(encoded(by), cipher=Cipher.NONE, compression=Compression.NONE)
    with pytest.raises(Unprotected):
        by.decode(stripped)


@pytest.mark.fault("F66")
@pytest.mark.parametrize(
    "change",
    [
        {
            "metadata": CheckpointMetadata(run_id="run", sequence=0, attempt=2)
            .model_dump_json()
            .encode()
        },
        {"codec": CodecId.TYPED_JSON},
        {"compression": Compression.NONE},
        {"inflated_bytes": 17},
    ],
    ids=lambda change: next(iter(change)),
)
def test_nothing_around_an_encrypted_body_can_be_changed(change: dict[str, Any]) -> None:
    by = serializer(encryption_keys=NEW)
    with pytest.raises(Corrupt, match="does not open"):
        by.decode(resealed(encoded(by), **change))


@pytest.mark.fault("F66")
def test_an_encrypted_body_cannot_be_moved() -> None:
    """Though somebody who can write to the store makes all checksums right."""
    by = serializer(encryption_keys=NEW)
    there, here = encoded(by), encoded(by, sequence=1)
    with pytest.raises(Corrupt, match="does not open"):
        by.decode(resealed(here, body=there.body))
    there = encoded(by, run_id="other")
    with pytest.raises(Corrupt, match="does not open"):
        by.decode(resealed(encoded(by), body=there.body))


@pytest.mark.fault("F66")
def test_every_byte_of_an_encrypted_record_counts() -> None:
    by = serializer(encryption_keys=NEW, compression="none")
    record = encoded(by, {"a": 1})
    for place in range(len(record.body)):
        body = bytearray(record.body)
        body[place] ^= 1
        with pytest.raises((Corrupt, MissingKey)):
            by.decode(resealed(record, body=bytes(body)))
    for end in range(len(record.body)):
        with pytest.raises((Corrupt, MissingKey)):
            by.decode(resealed(record, body=record.body[:end]))


@pytest.mark.parametrize(
    "keys", ["", "a", "a:", "a:!!!", "a:AAAA", f"{NEW},{NEW}", f"/:{NEW[5:]}", "a:" + "A" * 43]
)
def test_keys_that_cannot_be_read_are_refused_without_being_shown(keys: str) -> None:
    with pytest.raises(Misconfigured, match="form name:base64") as caught:
        serializer(encryption_keys=keys)
    assert "AAA" not in str(caught.value)
    assert NEW[5:] not in str(caught.value)


def test_keys_are_not_shown_with_the_settings() -> None:
    settings = CheckpointSettings.model_validate({"encryption_keys": NEW, **SIGNED})
    assert NEW[5:] not in repr(settings)
    assert SIGNED["signing_key"] not in repr(settings)


class Bomb:
    """Leaves a mark where it is loaded."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self._mark,))


@pytest.mark.fault("S1")
def test_a_pickle_is_loaded_only_if_we_have_signed_it(tmp_path: Path) -> None:
    mark = tmp_path / "exploded"
    by = serializer(**SIGNED)
    record = encoded(by, {"a": complex(1, 2)})
    assert by.decode(record).state == {"a": complex(1, 2)}
    forged = pickle.dumps((Bomb(mark), [], [], {}))
    for body in (forged, b"\0" * 32 + forged, record.body[:32] + forged):
        with pytest.raises(Corrupt, match="not signed with this key"):
            by.decode(resealed(record, body=body, inflated_bytes=len(body)))
    with pytest.raises(Corrupt, match="not signed"):
        serializer(**{**SIGNED, "signing_key": "another signing key"}).decode(record)
    elsewhere = encoded(by, {"a": complex(1, 2)}, sequence=1)
    with pytest.raises(Corrupt, match="not signed"):
        by.decode(resealed(elsewhere, body=record.body, inflated_bytes=len(record.body)))
    assert not mark.exists()


@pytest.mark.fault("S1")
def test_a_pickle_is_not_loaded_where_it_was_not_switched_on() -> None:
    record = encoded(serializer(**SIGNED))
    for settings in ({}, {"codec": "msgpack"}, {"signing_key": SIGNED["signing_key"]}):
        with pytest.raises(Unprotected, match="is a pickle"):
            serializer(**settings).decode(record)


def test_pickle_needs_a_key_to_sign_with() -> None:
    with pytest.raises(Misconfigured, match="MILEPOST_SIGNING_KEY"):
        serializer(codec="pickle")
    with pytest.raises(Misconfigured):
        CheckpointSettings.model_validate({"signing_key": "short"})


def test_what_cannot_be_pickled_is_refused() -> None:
    with pytest.raises(NotSerializable, match="cannot be pickled"):
        encoded(serializer(**SIGNED), lambda: None)


def test_a_pickled_state_can_be_read_as_a_type() -> None:
    by = serializer(**SIGNED)
    state = by.decode(encoded(by, (1, 2)), state_type=TypeAdapter(tuple[int, int])).state
    assert state == (1, 2)


@pytest.mark.fault("F67")
def test_a_codec_reads_no_other_codecs_body() -> None:
    for codec in (CodecId.JSON, CodecId.TYPED_JSON, CodecId.MSGPACK):
        for state in ({"a": 1}, {"a": (1,)}):
            for writer in ("json", "msgpack"):
                by = serializer(codec=writer, compression="none")
                record = encoded(by, state)
                if open_header(record.header).codec is codec:
                    continue
                with pytest.raises((Corrupt, ValueError)):
                    by.decode(resealed(record, codec=codec))


@pytest.mark.fault("S3")
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_bomb_is_not_inflated(compression: str) -> None:
    record = encoded(serializer(compression=compression), "0" * 10_000_000)
    assert len(record.body) < 20_000
    with pytest.raises(TooLarge):
        serializer(max_record_bytes=1_000_000).decode(record)
    liar = resealed(record, inflated_bytes=1000)
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt):
            serializer(max_record_bytes=1_000_000).decode(liar)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_an_unknown_cipher_is_of_a_newer_release() -> None:
    record = encoded(serializer())
    with pytest.raises(UnknownFormat, match="cipher 9 is unknown here"):
        serializer().decode(resealed(record, cipher=9))
