"""Checkpoints become records and come back the same, today and from long ago."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from milepost.checkpointing import (
    Checkpoint,
    CheckpointKey,
    CheckpointMetadata,
    CheckpointSettings,
    Kind,
    NotSerializable,
    Record,
    Serializer,
    Status,
    TooLarge,
)
from milepost.checkpointing.envelope import split

GOLDEN = Path(__file__).parents[2] / "golden"

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)
NUMBER = st.integers(0, (1 << 32) - 1)
METADATA = st.builds(
    CheckpointMetadata,
    run_id=st.just("run"),
    sequence=NUMBER,
    timeline=NUMBER,
    kind=st.sampled_from(Kind),
    status=st.sampled_from(Status),
    stage=st.none() | st.text(max_size=10),
    next_stage=st.none() | st.text(max_size=10),
    attempt=st.integers(1, 99),
    token=st.integers(0, 1 << 60),
    tags=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    cost=st.dictionaries(
        st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=3
    ),
    started_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    created_at=st.datetimes(timezones=st.just(UTC)),
    expires_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    error=st.none() | st.text(max_size=20),
)
CHECKPOINT = st.builds(
    Checkpoint,
    metadata=METADATA,
    state=JSON,
    messages=st.lists(JSON, max_size=3),
    tool_calls=st.lists(JSON, max_size=3),
    context=st.dictionaries(st.text(max_size=8), JSON, max_size=3),
)


class Order(BaseModel):
    number: int
    price: float
    placed: datetime
    lines: dict[str, tuple[int, str]]


@given(CHECKPOINT, st.sampled_from([0, 4096]))
def test_a_checkpoint_comes_back_the_same(checkpoint: Checkpoint, threshold: int) -> None:
    serializer = Serializer(CheckpointSettings(compress_from_bytes=threshold))
    record = serializer.encode(checkpoint)
    assert record.key == checkpoint.metadata.key
    assert serializer.metadata(record.key, record.header) == checkpoint.metadata
    assert serializer.decode(record) == checkpoint
    assert Serializer().decode(record) == checkpoint
    assert serializer.encode(checkpoint) == record


def checkpoint_with(state: Any, **more: Any) -> Checkpoint:
    return Checkpoint(metadata=CheckpointMetadata(run_id="run", sequence=0), state=state, **more)


def test_a_models_state_comes_back_by_its_type() -> None:
    order = Order(
        number=1, price=0.1, placed=datetime(2026, 5, 1, tzinfo=UTC), lines={"a": (2, "ü")}
    )
    adapter = TypeAdapter(Order)
    for written in (None, adapter):
        record = Serializer().encode(checkpoint_with(order), state_type=written)
        assert Serializer().decode(record, state_type=adapter).state == order
        assert isinstance(Serializer().decode(record).state, dict)


def test_a_sound_state_of_another_type_is_a_validation_error() -> None:
    record = Serializer().encode(checkpoint_with({"number": "x"}))
    with pytest.raises(ValidationError):
        Serializer().decode(record, state_type=TypeAdapter(Order))


@pytest.mark.fault("F70")
@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"state": {"a": math.nan}}, "state.a"),
        ({"state": 1, "messages": [1, object()]}, "messages[1]"),
        ({"state": 1, "tool_calls": [1j]}, "tool_calls[0]"),
        ({"state": 1, "context": {"a": {"b": math.inf}}}, "context.a.b"),
    ],
)
def test_a_fault_is_named_by_part_path_and_run(parts: dict[str, Any], path: str) -> None:
    with pytest.raises(NotSerializable) as caught:
        Serializer().encode(checkpoint_with(**parts))
    assert caught.value.path == path
    assert caught.value.run_id == "run"


@pytest.mark.fault("F70")
def test_a_large_body_is_refused_before_compression() -> None:
    serializer = Serializer(CheckpointSettings(max_record_bytes=1000))
    frame = len(b'""\n[]\n[]\n{}')
    serializer.encode(checkpoint_with("a" * (1000 - frame)))
    with pytest.raises(TooLarge) as caught:
        serializer.encode(checkpoint_with("a" * (1001 - frame)))
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (1001, 1000)
    assert caught.value.run_id == "run"


def test_a_record_over_the_readers_limit_is_refused() -> None:
    record = Serializer().encode(checkpoint_with("a" * 10_000))
    with pytest.raises(TooLarge):
        Serializer(CheckpointSettings(max_record_bytes=1000)).decode(record)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_metadata_that_could_not_be_read_back_is_refused(number: float) -> None:
    with pytest.raises(ValidationError):
        CheckpointMetadata(run_id="run", sequence=0, cost={"usd": number})
    with pytest.raises(ValidationError):
        CheckpointMetadata(run_id="run", sequence=1 << 32)


def test_an_error_text_of_any_bytes_can_be_kept() -> None:
    metadata = CheckpointMetadata(run_id="run", sequence=0, error="file \udcff\ud800")
    record = Serializer().encode(Checkpoint(metadata=metadata))
    assert Serializer().metadata(record.key, record.header) == metadata


# Never change these files or what is expected of them: they are what users have in their stores.
@pytest.mark.fault("F68")
@pytest.mark.parametrize("name", ["format-1-plain", "format-1-zstd"])
def test_a_golden_checkpoint_loads_for_ever(name: str) -> None:
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    header, body = split((GOLDEN / f"{name}.checkpoint").read_bytes())
    key = CheckpointKey("golden-run", 7, 2, Kind.MANUAL)
    checkpoint = Serializer().decode(Record(key, header, body))
    assert checkpoint.state == expected["state"]
    assert checkpoint.messages == expected["messages"]
    assert checkpoint.tool_calls == expected["tool_calls"]
    assert checkpoint.context == expected["context"]
    assert checkpoint.metadata == CheckpointMetadata(
        run_id="golden-run",
        sequence=7,
        timeline=2,
        kind=Kind.MANUAL,
        checkpoint_id="0123456789abcdef0123456789abcdef",
        parent="fedcba9876543210fedcba9876543210",
        status=Status.FAILED,
        stage="load",
        next_stage="clean",
        attempt=3,
        token=41,
        pipeline="flights",
        pipeline_version="1.2",
        tags=("nightly", "eu"),
        cost={"usd": 0.25, "tokens_in": 1200.0},
        worker="worker@host",
        started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        created_at=datetime(2026, 1, 2, 3, 4, 6, 789000, tzinfo=UTC),
        expires_at=datetime(2036, 1, 2, tzinfo=UTC),
        error="ValueError: ü",
    )
