"""No byte of a record changes unseen."""

from __future__ import annotations

from hashlib import blake2b

import pytest

from milepost.checkpointing import (
    Checkpoint,
    CheckpointKey,
    CheckpointMetadata,
    Corrupt,
    Record,
    Serializer,
    UnknownFormat,
)
from milepost.checkpointing.compression import Compression
from milepost.checkpointing.envelope import (
    PREFIX,
    CodecId,
    Header,
    check_body,
    open_header,
    seal,
    split,
)


@pytest.fixture(scope="module")
def record() -> Record:
    metadata = CheckpointMetadata(run_id="run", sequence=3, tags=("nightly",))
    return Serializer().encode(Checkpoint(metadata=metadata, state={"rows": [1, 2, 3]}))


def _header(body: bytes = b"body", metadata: bytes = b"{}") -> bytes:
    return seal(
        metadata,
        body,
        codec=CodecId.JSON,
        compression=Compression.NONE,
        inflated_bytes=len(body),
    )


def _resealed(header: bytes, position: int, value: int) -> bytes:
    """Change one byte of the fixed part and make the checksum right again, as a forger would."""
    fixed = bytearray(header[: PREFIX - 16])
    fixed[position] = value
    metadata = header[PREFIX:]
    return bytes(fixed) + blake2b(bytes(fixed) + metadata, digest_size=16).digest() + metadata


def test_what_was_sealed_is_opened() -> None:
    header = open_header(_header(b"body", b"\x00\xff\n{}"))
    assert header.metadata == b"\x00\xff\n{}"
    assert (header.codec, header.compression) == (CodecId.JSON, Compression.NONE)
    assert header.body_bytes == header.inflated_bytes == 4
    check_body(header, b"body")


@pytest.mark.fault("F64")
@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_is_found(record: Record, flip: int) -> None:
    serializer = Serializer()
    whole = record.header + record.body
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= flip
        cut = len(record.header)
        with pytest.raises(Corrupt) as caught:
            serializer.decode(Record(record.key, bytes(damaged[:cut]), bytes(damaged[cut:])))
        assert caught.value.key == record.key, position


@pytest.mark.fault("F64")
def test_every_truncation_is_found(record: Record) -> None:
    serializer = Serializer()
    for length in range(len(record.header)):
        with pytest.raises(Corrupt):
            serializer.decode(Record(record.key, record.header[:length], record.body))
    for length in range(len(record.body)):
        with pytest.raises(Corrupt):
            serializer.decode(Record(record.key, record.header, record.body[:length]))


def test_every_truncation_of_both_in_one_is_found(record: Record) -> None:
    serializer = Serializer()
    whole = record.header + record.body
    for length in range(len(whole)):
        with pytest.raises(Corrupt):
            serializer.decode(Record(record.key, *split(whole[:length])))


def test_every_flipped_byte_is_found_where_both_are_kept_together(record: Record) -> None:
    whole = record.header + record.body
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        with pytest.raises(Corrupt):
            Serializer().decode(Record(record.key, *split(bytes(damaged))))


def test_appended_bytes_are_found(record: Record) -> None:
    for header, body in (
        (record.header + b"\0", record.body),
        (record.header, record.body + b"\0"),
        (record.header + record.body, b""),
    ):
        with pytest.raises(Corrupt):
            Serializer().decode(Record(record.key, header, body))


@pytest.mark.parametrize(
    ("header", "body"),
    [(b"", b""), (b"MPCK", b""), (b'{"state": 1}', b""), (b"\x80\x04N.", b"x" * 100)],
)
def test_what_was_never_a_checkpoint_is_refused(header: bytes, body: bytes) -> None:
    key = CheckpointKey("run", 0)
    with pytest.raises(Corrupt, match=r"commit/main/00000000\.00000000 of run run"):
        Serializer().decode(Record(key, header, body))


@pytest.mark.fault("F64")
@pytest.mark.parametrize(
    "key",
    [
        CheckpointKey("other", 3),
        CheckpointKey("run", 4),
        CheckpointKey("run", 3, timeline=1),
        CheckpointKey("run", 3, lane="side"),
    ],
)
def test_a_sound_record_under_another_key_is_refused(record: Record, key: CheckpointKey) -> None:
    with pytest.raises(Corrupt, match=r"says it is commit/main/00000000\.00000003 of run run"):
        Serializer().decode(Record(key, record.header, record.body))


def test_the_body_of_another_record_is_refused(record: Record) -> None:
    metadata = CheckpointMetadata(run_id="other", sequence=3)
    other = Serializer().encode(Checkpoint(metadata=metadata, state={"rows": [1, 2, 4]}))
    assert len(other.body) == len(record.body)
    with pytest.raises(Corrupt, match="body's checksum"):
        Serializer().decode(Record(record.key, record.header, other.body))


@pytest.mark.parametrize(("position", "value"), [(4, 2), (4, 0), (5, 9), (6, 9)])
def test_a_format_codec_or_compression_from_the_future_is_named(position: int, value: int) -> None:
    with pytest.raises(UnknownFormat):
        open_header(_resealed(_header(), position, value))


def test_an_envelope_that_was_stripped_is_refused(record: Record) -> None:
    bare = record.header[PREFIX:]
    with pytest.raises(Corrupt, match="no Milepost checkpoint"):
        Serializer().metadata(record.key, bare)


def test_metadata_that_is_none_is_refused() -> None:
    for metadata in (b"", b"[]", b"{", b'{"run_id":"run"}'):
        with pytest.raises(Corrupt, match="no metadata"):
            Serializer().metadata(CheckpointKey("run", 0), _header(metadata=metadata))


@pytest.mark.fault("F68")
def test_metadata_of_a_later_release_are_read() -> None:
    """Workers are upgraded one by one: the old ones pass over what they do not know."""
    metadata = b'{"run_id":"run","sequence":0,"stage":"a","of_a_later_release":1}'
    read = Serializer().metadata(CheckpointKey("run", 0), _header(metadata=metadata))
    assert (read.run_id, read.stage) == ("run", "a")


def test_split_finds_the_end_of_the_header() -> None:
    header = _header(b"\0MPCK\xff", b"{}" * 2000)
    assert split(header + b"\0MPCK\xff") == (header, b"\0MPCK\xff")


def test_a_header_is_opened_into_plain_values() -> None:
    assert isinstance(open_header(_header()), Header)
