"""Inflating yields what was said, or nothing."""

from __future__ import annotations

import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from milepost.checkpointing import (
    Checkpoint,
    CheckpointMetadata,
    CheckpointSettings,
    Corrupt,
    Record,
    Serializer,
    TooLarge,
)
from milepost.checkpointing.compression import Compression, deflate, inflate
from milepost.checkpointing.envelope import CodecId, seal

_MIB = 1 << 20


@given(st.binary(max_size=2000), st.integers(0, 3000))
def test_what_is_deflated_inflates_to_the_same(data: bytes, threshold: int) -> None:
    compression, packed = deflate(data, threshold_bytes=threshold)
    assert len(packed) <= len(data)
    assert inflate(packed, compression, size_bytes=len(data), limit_bytes=2000) == data


def test_small_bodies_are_left_alone() -> None:
    assert deflate(b"a" * 99, threshold_bytes=100) == (Compression.NONE, b"a" * 99)
    assert deflate(b"a" * 100, threshold_bytes=100)[0] is Compression.ZSTD


def test_what_does_not_shrink_is_left_alone() -> None:
    data = bytes(range(256))
    assert deflate(data, threshold_bytes=0) == (Compression.NONE, data)


def test_over_the_limit_nothing_is_inflated() -> None:
    with pytest.raises(TooLarge) as caught:
        inflate(b"not even a frame", Compression.ZSTD, size_bytes=101, limit_bytes=100)
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (101, 100)


@pytest.mark.fault("S3")
@pytest.mark.parametrize("size_bytes", [0, 1, 100, 64 * _MIB - 1])
def test_a_bomb_whose_envelope_lies_costs_no_memory(size_bytes: int) -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(64 * _MIB))
    _refused_cheaply(bomb, size_bytes)


@pytest.mark.fault("S3")
@pytest.mark.parametrize("size_bytes", [0, 100])
def test_a_bomb_that_does_not_say_its_size_costs_no_memory(size_bytes: int) -> None:
    compressor = zstandard.ZstdCompressor(level=19, write_content_size=False)
    _refused_cheaply(compressor.compress(bytes(64 * _MIB)), size_bytes)


@pytest.mark.parametrize("data", [b"", b"x", b"\x28\xb5\x2f\xfd", b"\x00" * 50])
def test_what_is_no_frame_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        inflate(data, Compression.ZSTD, size_bytes=10, limit_bytes=100)


def test_a_truncated_frame_is_corrupt() -> None:
    _, packed = deflate(b"milepost" * 1000, threshold_bytes=0)
    for length in range(len(packed)):
        with pytest.raises(Corrupt):
            inflate(packed[:length], Compression.ZSTD, size_bytes=8000, limit_bytes=8000)


def test_an_uncompressed_body_of_another_length_is_corrupt() -> None:
    with pytest.raises(Corrupt):
        inflate(b"four", Compression.NONE, size_bytes=5, limit_bytes=100)


def test_a_forged_record_with_a_bomb_is_refused_by_its_key() -> None:
    metadata = CheckpointMetadata(run_id="run", sequence=0)
    sound = Serializer().encode(Checkpoint(metadata=metadata))
    bomb = zstandard.ZstdCompressor().compress(bytes(8 * _MIB))
    for claimed, error in ((100, Corrupt), (8 * _MIB, TooLarge)):
        header = seal(
            metadata.model_dump_json().encode(),
            bomb,
            codec=CodecId.JSON,
            compression=Compression.ZSTD,
            inflated_bytes=claimed,
        )
        with pytest.raises(error) as caught:
            Serializer(CheckpointSettings(max_record_bytes=_MIB)).decode(
                Record(sound.key, header, bomb)
            )
        assert caught.value.run_id == "run"


def _refused_cheaply(bomb: bytes, size_bytes: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt):
            inflate(bomb, Compression.ZSTD, size_bytes=size_bytes, limit_bytes=64 * _MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < _MIB
