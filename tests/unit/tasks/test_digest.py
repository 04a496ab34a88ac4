"""The same input has the same digest, in every process; another has another."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from milepost.tasks.digest import input_digest
from milepost.tasks.stage import validated


class Order(BaseModel):
    rows: int = Field(default=1, alias="numRows")
    tags: set[str] = set()
    parts: list[str] = []
    by_day: dict[date, int] = {}
    key: UUID = Field(default_factory=uuid4)

    model_config = {"populate_by_name": True}


ORDER = TypeAdapter(Order)
KEY = UUID(int=5)
IN_ANOTHER_PROCESS = """
from pydantic import TypeAdapter
from milepost.tasks.digest import input_digest
print(input_digest("p", {"a", "bc", "def", "g", "h"}, TypeAdapter(set[str])))
"""


def digest(given: Any) -> str:
    return input_digest("p", validated(given, ORDER, "load"), ORDER)


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
    ],
)
def test_not_the_same(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)


def test_plain_states_by_value() -> None:
    assert input_digest("p", {"a": 1, "b": [2]}, None) == input_digest(
        "p", {"b": [2], "a": 1}, None
    )
    assert input_digest("p", {"a": 1}, None) != input_digest("p", {"a": True}, None)
    assert input_digest("p", {"a": 1}, None) != input_digest("q", {"a": 1}, None)


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
