"""What JSON cannot hold is refused, and the path says where it sits."""

from __future__ import annotations

import math
from collections import namedtuple
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, computed_field

from milepost.checkpointing import NotSerializable
from milepost.checkpointing.plain_json import dump_json, join, load_json

_Pair = namedtuple("_Pair", "left right")
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


class Order(BaseModel):
    number: int = Field(default=0, alias="orderNumber")
    placed: datetime | None = None
    due: date | None = None
    price: Decimal = Decimal("0.10")
    weight: float | None = None
    parts: set[str] = set()
    sizes: tuple[int, ...] = ()
    by_code: dict[int, str] = {}
    key: UUID | None = None
    before: Order | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def label(self) -> str:
        return f"order {self.number}"


class Rush(Order):
    speed: int = 0


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int = 1

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        return 2 * self.a


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def _cycle() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    inner["back"] = [1, {"to": inner}]
    return {"rows": inner}


@pytest.mark.parametrize(
    ("value", "path"),
    [({"a": object()}, "state.a"), ({"a": [date.today(), {"b": object()}]}, "state.a[1].b")],
)
def test_in_a_type_that_allows_anything_the_path_is_told_too(value: Any, path: str) -> None:
    class Loose(BaseModel):
        a: Any

    with pytest.raises(NotSerializable) as caught:
        dump_json(Loose(**value), name="state", adapter=TypeAdapter(Loose))
    assert caught.value.path == path
    assert "it is of type object" in str(caught.value)


@given(_JSON)
def test_json_comes_back_equal_and_of_the_same_types(value: Any) -> None:
    data = dump_json(value, name="state")
    assert b"\n" not in data
    assert repr(load_json(data)) == repr(value)


@pytest.mark.fault("F70")
@pytest.mark.parametrize(
    ("value", "path"),
    [
        (math.nan, "state"),
        ({"rows": [{"price": 1.0}, {"price": math.inf}]}, "state.rows[1].price"),
        ({"list": {"dict": [0, -math.inf]}}, "state.list.dict[1]"),
        ({"list": {"dict": [0, object()]}}, "state.list.dict[1]"),
        ({"a": (1, 2)}, "state.a"),
        ([_Pair(1, 2)], "state[0]"),
        ({"a": {1: 2}}, "state.a"),
        ({"a": {None: 2}}, "state.a"),
        ({"a": {1, 2}}, "state.a"),
        ({"a": b"bytes"}, "state.a"),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, "state.a"),
        ({"a": 1j}, "state.a"),
        ({"a": Order()}, "state.a"),
        ({"a": ["fine", "\ud800"]}, "state.a[1]"),
        ({"a": {"\udfff": 1}}, "state.a"),
        (_cycle(), "state.rows.back[1].to"),
        ({"a": 10**5000}, "state"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_json_is_refused_where_it_sits(value: Any, path: str) -> None:
    with pytest.raises(NotSerializable) as caught:
        dump_json(value, name="state")
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path} cannot be kept")
    assert str(caught.value).isprintable()


def test_what_can_be_written_can_be_read_at_any_depth() -> None:
    for depth in (199, 200, 201):
        value = _nested(depth)
        assert load_json(dump_json(value, name="state")) == value
    for depth in (202, 254, 300, 900, 100_000):
        with pytest.raises(NotSerializable) as caught:
            dump_json(_nested(depth), name="state")
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("digits", [19, 20, 400, 4300])
def test_large_numbers_are_read_back(digits: int) -> None:
    for number in (10 ** (digits - 1), -(10 ** (digits - 1))):
        assert load_json(dump_json({"n": number}, name="state")) == {"n": number}


def test_a_model_with_a_cycle_is_refused() -> None:
    reading = Reading()
    reading.inner["again"] = reading
    with pytest.raises(NotSerializable):
        dump_json(reading, name="state")


def test_a_model_comes_back_equal() -> None:
    order = Order(
        orderNumber=7,
        placed=datetime(2026, 2, 28, 23, 59, 59, 999_999, timezone(timedelta(hours=-7))),
        due=date(2026, 3, 1),
        weight=0.1 + 0.2,
        parts={"lid", "box"},
        sizes=(3, 1),
        by_code={4: "four"},
        key=UUID(int=5),
        before=Order(orderNumber=6, placed=datetime(2026, 1, 1)),
    )
    adapter = TypeAdapter(Order)
    for data in (
        dump_json(order, name="state", adapter=adapter),
        dump_json(order, name="state"),
    ):
        back = load_json(data, adapter)
        assert back == order
        assert back.number == 7
        assert back.placed.utcoffset() == timedelta(hours=-7)


def test_a_model_may_be_given_under_its_aliases() -> None:
    assert load_json(b'{"orderNumber": 3}', TypeAdapter(Order)).number == 3


def test_computed_fields_do_not_stand_in_the_way() -> None:
    data = dump_json(Strict(a=3), name="state")
    assert load_json(data, TypeAdapter(Strict)) == Strict(a=3)


class Reading(BaseModel):
    values: list[float | None] = []
    inner: dict[str, Reading] = {}
    secret: SecretStr | None = None
    loose: Any = None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_pydantic_would_turn_into_null_is_refused(number: float) -> None:
    state = Reading(inner={"a": Reading(values=[None, 1.0, number])})
    for adapter in (None, TypeAdapter(Reading)):
        with pytest.raises(NotSerializable) as caught:
            dump_json(state, name="state", adapter=adapter)
        assert caught.value.path == "state.inner.a.values[2]"
    with pytest.raises(NotSerializable):
        dump_json({"a": {"b": [number]}}, name="state", adapter=TypeAdapter(Any))
    with pytest.raises(NotSerializable):
        dump_json(number, name="state", adapter=TypeAdapter(float))


def test_null_itself_is_kept() -> None:
    state = Reading(values=[None], loose={"a": {1, 2}})
    assert load_json(dump_json(state, name="state"), TypeAdapter(Reading)).values == [None]


def test_a_secret_is_refused_instead_of_masked() -> None:
    with pytest.raises(NotSerializable) as caught:
        dump_json(Reading(secret=SecretStr("canary")), name="state")
    assert caught.value.path == "state.secret"
    assert "canary" not in str(caught.value)


def test_asterisks_are_text_like_any_other() -> None:
    state = Reading(loose="**********")
    assert load_json(dump_json(state, name="state"), TypeAdapter(Reading)) == state


@pytest.mark.parametrize("value", [{"a": 1}, "7", object(), Strict(), Rush(speed=9)])
def test_a_value_that_is_not_of_the_type_is_refused(value: Any) -> None:
    with pytest.raises(NotSerializable) as caught:
        dump_json(value, name="state", adapter=TypeAdapter(Order))
    assert caught.value.path == "state"


def test_a_loosely_typed_value_is_refused_for_the_same_reasons() -> None:
    adapter = TypeAdapter(Any)
    for value in (_cycle(), object(), {"a": "\ud800"}, _nested(300), {"a": object()}):
        with pytest.raises(NotSerializable):
            dump_json(value, name="state", adapter=adapter)


def test_paths_read_like_python() -> None:
    assert join("state", "rows", 3, "price") == "state.rows[3].price"
    assert join("state") == "state"
