"""Definitions that cannot work are found before a run meets them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel

from milepost.tasks import Milepost
from milepost.tasks.definitions import problems


class Rows(BaseModel):
    rows: int


class Named(BaseModel):
    rows: int
    name: str
    note: str = ""


class Renamed(BaseModel):
    lines: int = Field(validation_alias="rows")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Text(RootModel[str]):
    pass


class Many(RootModel[list[int]]):
    pass


@pytest.fixture
def app() -> Milepost:
    """Nothing of what is checked here asks a store."""
    return Milepost("redis://127.0.0.1:1/0")


def two_stages(app: Milepost, given: Any, taken: Any) -> None:
    def first(state):  # type: ignore[no-untyped-def]
        return state

    def second(state):  # type: ignore[no-untyped-def]
        return state

    first.__annotations__ = {"return": given}
    second.__annotations__ = {"state": taken}
    line = app.pipeline("line")
    line.stage(first)
    line.stage(second)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (Rows, Rows),
        (Named, Rows),
        (Rows, Renamed),
        (Open, Named),
        (dict, Named),
        (Any, Named),
        (Rows, dict),
        (list, Many),
        (str, Text),
        (Many, Rows),
        (Rows | Named, Named),
        (int, int),
    ],
)
def test_what_may_fit_is_not_complained_of(app: Milepost, given: Any, taken: Any) -> None:
    two_stages(app, given, taken)

    assert [*problems(app)] == []


@pytest.mark.parametrize(
    ("given", "taken", "says"),
    [
        (Rows, Named, "stage second needs name, which stage first before it does not give."),
        (int, Rows, "stage second takes a Rows, which stage first before it does not give."),
        (Renamed, Rows, "stage second needs rows, which"),
    ],
)
def test_what_cannot_fit(app: Milepost, given: Any, taken: Any, says: str) -> None:
    two_stages(app, given, taken)

    [found] = problems(app)

    assert found.startswith("Pipeline line 1: ")
    assert says in found


def test_nothing_to_run(app: Milepost) -> None:
    assert [*problems(app)] == ["No pipeline is defined."]

    app.pipeline("empty")

    assert [*problems(app)] == ["Pipeline empty 1 has no stages."]


def test_queues_that_nobody_takes_from(app: Milepost) -> None:
    app.pipeline("line").stage(name="only", queue="heavy")(lambda state: state)

    assert [*problems(app, ["heavy"])] == []
    [found] = problems(app, ["milepost", "light"])
    assert found == (
        "Stage line.only goes to queue heavy, from which nobody takes; there are: light, milepost."
    )


def test_queues_that_celery_does_not_make(app: Milepost) -> None:
    app.celery.conf.task_create_missing_queues = False
    line = app.pipeline("line")
    line.stage(name="here", queue="milepost")(lambda state: state)
    assert [*problems(app)] == []

    line.stage(name="nowhere", queue="heavy")(lambda state: state)

    [found] = problems(app)
    assert found.startswith("Stage line.nowhere goes to queue heavy, which Celery does not know")
