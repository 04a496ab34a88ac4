"""The same input has the same digest, in every process; another has another."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Field, PlainSerializer, TypeAdapter
from pydantic_core import core_schema

from milepost.checkpointing.plain_json import dump_json
from milepost.tasks.digest import input_digest
from milepost.tasks.stage import validated


class Bucket(BaseModel):
    kind: Literal["s3"] = "s3"
    path: str


class Folder(BaseModel):
    kind: Literal["folder"] = "folder"
    path: str


class Part(BaseModel):
    key: UUID = Field(default_factory=uuid4)


class Order(BaseModel):
    rows: int = Field(default=1, alias="numRows")
    tags: set[str] = set()
    parts: list[str] = []
    by_day: dict[date, int] = {}
    source: Bucket | Folder | None = None
    part: Part | None = None
    key: UUID = Field(default_factory=uuid4)

    model_config = {"populate_by_name": True}


ORDER = TypeAdapter(Order)
KEY = UUID(int=5)
IN_ANOTHER_PROCESS = """
from pydantic import TypeAdapter
from milepost.checkpointing.plain_json import dump_json
from milepost.tasks.digest import input_digest
state = {"a", "bc", "def", "g", "h"}
print(input_digest("p", state, state, TypeAdapter(set[str])))
"""


def digest(given: Any) -> str:
    return input_digest("p", given, validated(given, ORDER, "load"), ORDER)


def plain_digest(pipeline: str, state: Any) -> str:
    return input_digest(pipeline, state, state, None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"rows": 2}, {"rows": 2}),
        ({"rows": 2}, {"numRows": 2}),
        ({"rows": 2, "parts": ["x"]}, {"parts": ["x"], "rows": 2}),
        ({"rows": 2}, {"rows": 2, "parts": []}),
        ({"rows": 2, "key": KEY}, Order(rows=2, key=KEY)),
        ({"tags": {"a", "b"}}, {"tags": ["b", "a"]}),
        ({"by_day": {"2013-01-01": 1}}, {"by_day": {date(2013, 1, 1): 1}}),
    ],
)
def test_the_same(one: Any, other: Any) -> None:
    assert digest(one) == digest(other)


def changed_in_place() -> Order:
    order = Order(key=KEY)
    order.parts.append("x")
    return order


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"rows": 2}, {"rows": 3}),
        ({"parts": ["x", "y"]}, {"parts": ["y", "x"]}),
        ({"tags": {"a"}}, {"tags": {"b"}}),
        (Order(key=KEY), changed_in_place()),
        (Order(), Order()),
        ({"source": {"kind": "s3", "path": "x"}}, {"source": {"kind": "folder", "path": "x"}}),
        ({"source": Bucket(path="x")}, {"source": Folder(path="x")}),
        ({"part": Part()}, {"part": Part()}),
    ],
)
def test_not_the_same(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)


def test_plain_states_by_value() -> None:
    assert plain_digest("p", {"a": 1, "b": [2]}) == plain_digest("p", {"b": [2], "a": 1})
    assert plain_digest("p", {"a": 1}) != plain_digest("p", {"a": True})
    assert plain_digest("p", {"a": 1}) != plain_digest("q", {"a": 1})


class Key:
    """A type of somebody else's, which is written as text."""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value, serialization=core_schema.to_string_ser_schema()
        )


class Odd(BaseModel):
    model_config = {"ser_json_bytes": "base64", "arbitrary_types_allowed": True}

    data: bytes = b""
    shout: Annotated[str, PlainSerializer(str.upper, when_used="json")] = ""
    key: Key | None = None


@pytest.mark.parametrize("state", [Odd(data=b"\xff"), Odd(shout="a"), Odd(key=Key())])
def test_whatever_can_be_written_has_a_digest(state: Odd) -> None:
    adapter = TypeAdapter(Odd)
    dump_json(state, name="state", adapter=adapter)
    assert input_digest("p", state, state, adapter) == input_digest("p", state, state, adapter)
    assert input_digest("p", state, state, adapter) != input_digest("p", Odd(), Odd(), adapter)


def test_the_order_of_a_set_is_that_of_the_process() -> None:
    runs = {
        subprocess.run(
            [sys.executable, "-c", IN_ANOTHER_PROCESS],
            env={"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(runs) == 1
