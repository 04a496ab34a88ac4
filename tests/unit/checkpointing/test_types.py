"""Values of the closed table come back equal and of the same type; nothing else is ever made."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError

from milepost.checkpointing import (
    Checkpoint,
    CheckpointMetadata,
    CheckpointSettings,
    Corrupt,
    InvalidName,
    Misconfigured,
    NotSerializable,
    Record,
    Serializer,
    Types,
)
from milepost.checkpointing.compression import Compression
from milepost.checkpointing.envelope import CodecId, open_header, seal

CODECS = ("json", "msgpack")


class Color(Enum):
    RED = 1
    BLUE = "b"


class Access(Flag):
    READ = 1
    WRITE = 2


class Level(IntEnum):
    LOW = 1


@dataclass
class Point:
    x: int
    at: datetime


class Order(BaseModel):
    price: Decimal
    placed: datetime


@pytest.fixture
def types() -> Types:
    types = Types()
    for kind in (Color, Level, Access, Point, Order):
        types.register(kind)
    return types


@pytest.fixture(params=CODECS)
def serializer(request: pytest.FixtureRequest, types: Types) -> Serializer:
    return Serializer(CheckpointSettings(codec=request.param), types)


def back(serializer: Serializer, state: Any, adapter: TypeAdapter[Any] | None = None) -> Any:
    metadata = CheckpointMetadata(run_id="run", sequence=0)
    record = serializer.encode(Checkpoint(metadata=metadata, state=state), state_type=adapter)
    return serializer.decode(record, state_type=adapter).state


VALUES = [
    datetime(2026, 1, 2, 3, 4, 5, 678901),
    datetime(2026, 1, 2, tzinfo=UTC),
    datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    date(2026, 1, 2),
    time(3, 4, 5, 6),
    timedelta(days=-3, microseconds=7),
    timedelta.max,
    UUID(int=7),
    Decimal("0.10"),
    Decimal("-1E+500"),
    b"",
    bytes(range(256)),
    Path("/a/b c"),
    (),
    (1, (2, [3])),
    {1, 2, 3},
    {(1, 2), (1, 1)},
    frozenset({"a"}),
    {1: "one", None: 2, (1, 2): {"x": b"y"}},
    {"~datetime": "no date"},
    {"~dict": {"~": 1}},
    {"~": 1, "b": (2,)},
    10**40,
    -(1 << 63),
    Color.RED,
    Level.LOW,
    Access.READ | Access.WRITE,
    Access(0),
    {"~int": "ff"},
    ({"~int": "ff", "a": 1}, {"~map": []}),
    Point(1, datetime(2026, 1, 2)),
    Order(price=Decimal("1.20"), placed=datetime(2026, 1, 2)),
    {"deep": [{"er": (Color.BLUE, b"x")}]},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:40])
def test_a_known_value_comes_back(serializer: Serializer, value: Any) -> None:
    for state in (value, [value], {"a": {"b": value}}):
        found = back(serializer, state)
        assert found == state
        assert repr(found) == repr(state) or isinstance(value, set | frozenset)
        assert type(found) is type(state)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12).reshape(3, 4),
        np.array([], dtype="float32"),
        np.array(7.5),
        np.array([True, False]),
        np.array(["a", "bcd"]),
        np.array(["2026-01-01"], dtype="datetime64[ns]"),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([1 + 2j]),
        np.array([1, 2], dtype=">i4"),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_comes_back_of_its_kind_and_shape(serializer: Serializer, array: Any) -> None:
    found = back(serializer, {"a": array})["a"]
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert (found == array).all()
    assert found.flags.writeable
    scalar = array.flatten()[0] if array.size else np.float32(1)
    (found,) = back(serializer, [scalar])
    assert found == scalar
    # What is a float or a str of Python's, too, comes back as one.
    expected = next((kind for kind in (float, str) if isinstance(scalar, kind)), type(scalar))
    assert type(found) is expected


def test_a_frame_comes_back(serializer: Serializer) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.to_datetime(["2026-01-01"] * 2)})
    pd.testing.assert_frame_equal(back(serializer, {"rows": frame})["rows"], frame)


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        ({"a": [object()]}, "state.a[0]", "of type object"),
        ({"a": (1, math.nan)}, "state.a[1]", "it is nan"),
        ({"a": deque([1])}, "state.a", "deque"),
        ({1: {2: 1j}}, "state.1.2", "complex"),
        ({"a": np.array([object()])}, "state.a", "dtype object"),
        ([(SecretStr("canary"),)], "state[0][0]", "SecretStr"),
        ({"a": ("\ud800",)}, "state.a[0]", "Unicode"),
    ],
)
def test_what_is_not_in_the_table_is_refused_where_it_sits(
    serializer: Serializer, value: Any, path: str, reason: str
) -> None:
    with pytest.raises(NotSerializable, match=reason) as caught:
        back(serializer, value)
    assert caught.value.path == path
    assert "canary" not in str(caught.value)


@pytest.mark.fault("F70")
def test_what_contains_itself_or_is_too_deep_is_refused(serializer: Serializer) -> None:
    cycle: list[Any] = [()]
    cycle.append((cycle,))
    with pytest.raises(NotSerializable, match="contains itself"):
        back(serializer, cycle)
    deep: Any = ()
    for _ in range(5000):
        deep = (deep,)
    with pytest.raises(NotSerializable, match="nested deeper"):
        back(serializer, deep)


def test_what_is_written_can_be_read_however_deep_the_table_nests_it() -> None:
    """As JSON, whose reader has its own bound."""
    for depth in range(50, 110, 3):
        state: Any = 0
        for _ in range(depth):
            state = {1: state}
        try:
            assert back(Serializer(), state) == state
        except NotSerializable:
            assert depth > 60


@pytest.mark.fault("S2")
def test_a_type_that_is_not_registered_is_neither_written_nor_read(types: Types) -> None:
    with pytest.raises(NotSerializable, match="Color"):
        back(Serializer(), [Color.RED])
    metadata = CheckpointMetadata(run_id="run", sequence=0)
    record = Serializer(types=types).encode(Checkpoint(metadata=metadata, state=[Color.RED]))
    with pytest.raises(Corrupt, match="holds a Color, which is not registered here"):
        Serializer().decode(record)


def test_a_class_may_be_renamed_if_its_name_was_given() -> None:
    before, after = Types(), Types()
    before.register(Color, "paint")
    after.register(Level, "paint")
    metadata = CheckpointMetadata(run_id="run", sequence=0)
    record = Serializer(types=before).encode(Checkpoint(metadata=metadata, state=[Color.RED]))
    with pytest.raises(Corrupt, match="no sound paint"):
        Serializer(types=after).decode(record)


def test_a_name_stands_for_one_class(types: Types) -> None:
    types.register(Color)
    with pytest.raises(Misconfigured, match="taken by another"):
        types.register(Level, "Color")
    with pytest.raises(InvalidName):
        types.register(Level, "a/b")
    with pytest.raises(Misconfigured, match="expected an enum"):
        types.register(int)


def test_a_model_stays_its_models_affair(serializer: Serializer) -> None:
    adapter = TypeAdapter(Order)
    order = Order(price=Decimal("1.20"), placed=datetime(2026, 1, 2))
    assert back(serializer, order, adapter) == order
    metadata = CheckpointMetadata(run_id="run", sequence=0)
    record = serializer.encode(Checkpoint(metadata=metadata, state=order), state_type=adapter)
    assert serializer.decode(record).state == {"price": "1.20", "placed": "2026-01-02T00:00:00"}
    with pytest.raises(ValidationError):
        serializer.decode(record, state_type=TypeAdapter(Point))


def test_an_untyped_state_can_be_read_as_a_type(serializer: Serializer) -> None:
    metadata = CheckpointMetadata(run_id="run", sequence=0)
    state = {"price": Decimal("1.20"), "placed": datetime(2026, 1, 2)}
    record = serializer.encode(Checkpoint(metadata=metadata, state=state))
    found = serializer.decode(record, state_type=TypeAdapter(Order)).state
    assert found == Order(price=Decimal("1.20"), placed=datetime(2026, 1, 2))


def test_plain_json_is_written_as_ever(types: Types) -> None:
    metadata = CheckpointMetadata(run_id="run", sequence=0)
    for state, codec in (({"~a": 1}, CodecId.JSON), ({"a": (1,)}, CodecId.TYPED_JSON)):
        record = Serializer(types=types).encode(Checkpoint(metadata=metadata, state=state))
        assert open_header(record.header).codec is codec


@pytest.mark.fault("S2")
@pytest.mark.parametrize(
    "body",
    [
        b'1000\n{"~datetime":"never"}\n[]\n[]\n{}',
        b'1000\n{"~datetime":7}\n[]\n[]\n{}',
        b'1000\n{"~bytes":"?"}\n[]\n[]\n{}',
        b'1000\n{"~map":[[1]]}\n[]\n[]\n{}',
        b'1000\n{"~map":[[[],1]]}\n[]\n[]\n{}',
        b'1000\n{"~decimal":"x"}\n[]\n[]\n{}',
        b'1000\n{"~ndarray":["O",[1],{"~bytes":"AAAAAAAAAAA="}]}\n[]\n[]\n{}',
        b'1000\n{"~ndarray":["<i4",[1000000000],{"~bytes":"AAAA"}]}\n[]\n[]\n{}',
        b'1000\n{"~os.system":"true"}\n[]\n[]\n{}',
        b'1000\n{"~:Point":{"y":1}}\n[]\n[]\n{}',
        b'1000\n{"~:Color":"GREEN"}\n[]\n[]\n{}',
        b'1000\n{"~:Order":"{}"}\n[]\n[]\n{}',
        b'1000\n{"~dict":5}\n[]\n[]\n{}',
        b'1000\n{"~timedelta":[]}\n[]\n[]\n{}',
        b'1000\n{"~:Order":{"a":1}}\n[]\n[]\n{}',
        b'1000\n{"~frame":{"~bytes":"AAAA"}}\n[]\n[]\n{}',
        b"2000\n1\n[]\n[]\n{}",
        b"100\n1\n[]\n[]\n{}",
        b"1\n[]\n[]\n{}",
    ],
)
def test_what_no_milepost_wrote_is_corrupt(types: Types, body: bytes) -> None:
    """Though its checksums are sound: whoever wrote it, nothing unforeseen is made of it."""
    metadata = CheckpointMetadata(run_id="run", sequence=0)
    header = seal(
        metadata.model_dump_json(exclude_none=True).encode(),
        body,
        codec=CodecId.TYPED_JSON,
        compression=Compression.NONE,
        inflated_bytes=len(body),
    )
    with pytest.raises(Corrupt):
        Serializer(types=types).decode(Record(metadata.key, header, body))
