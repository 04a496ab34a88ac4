"""Stages: what they take and give."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel, Field, RootModel, TypeAdapter

from milepost.checkpointing import Misconfigured
from milepost.tasks import Context, StateInvalid
from milepost.tasks.stage import Stage, StageOptions, validated


class Rows(BaseModel):
    """A state with a nested field."""

    rows: int = 0
    names: list[str] = []


def stage_of(function: Any) -> Stage:
    """Make a stage with defaults."""
    return Stage("given", function, StageOptions())


def test_sync_and_async_functions_give_the_same() -> None:
    """A coroutine function runs to its end."""

    def plain(state: Rows) -> Rows:
        return Rows(rows=state.rows + 1)

    async def coroutine(state: Rows) -> Rows:
        return Rows(rows=state.rows + 1)

    assert Rows(rows=2) == stage_of(plain).call(Rows(rows=1), None)
    assert Rows(rows=2) == stage_of(coroutine).call(Rows(rows=1), None)


def test_the_context_is_optional() -> None:
    """It is passed to whoever has a second parameter."""
    assert not stage_of(lambda state: state).takes_context

    def with_context(state: Rows, ctx: Context) -> Rows:
        return state

    assert stage_of(with_context).takes_context


def test_a_forgotten_return_is_named() -> None:
    """None is no next state."""

    def forgetful(state: Rows) -> Rows:
        return None  # type: ignore[return-value]

    with pytest.raises(StateInvalid, match="returned None"):
        stage_of(forgetful).call(Rows(), None)


def test_a_wrong_state_names_stage_and_field() -> None:
    """As deep as the field sits."""
    adapter = stage_of(_typed).input
    assert adapter is not None

    with pytest.raises(StateInvalid, match=r"stage given expects: state\.names\[1\]") as caught:
        validated({"names": ["a", 2]}, adapter, "given")

    assert (caught.value.stage, caught.value.path) == ("given", "state.names[1]")


def test_a_model_that_was_changed_to_nonsense_is_found() -> None:
    """Assignment does not validate, committing does."""
    broken = Rows()
    broken.rows = "many"  # type: ignore[assignment]

    with pytest.raises(StateInvalid, match=r"state\.rows"):
        stage_of(_typed).call(broken, None)


class Renamed(BaseModel):
    source: str = Field(alias="src")


class Names(RootModel[list[str]]):
    pass


@pytest.mark.parametrize("state", [Renamed(src="a"), Names(["a", "b"])])
def test_models_with_aliases_or_a_root_are_states(state: BaseModel) -> None:
    """As instances, which have the names of fields and not their aliases."""
    assert validated(state, TypeAdapter(type(state)), "given") == state


def test_functions_of_another_shape_are_refused() -> None:
    """At definition time."""
    with pytest.raises(Misconfigured, match="takes 3 arguments"):
        stage_of(lambda a, b, c: a)


def _typed(state: Rows) -> Rows:
    return state


def test_a_default_is_a_binding_unless_it_is_called_context() -> None:
    """``lambda state, name=name: …`` is how a loop defines stages."""
    assert stage_of(lambda state, suffix="!": state + suffix).call("a", None) == "a!"
    assert stage_of(lambda state, ctx=None: ctx).call("a", "context") == "context"  # type: ignore[arg-type]


def test_a_coroutine_runs_where_an_event_loop_does_already() -> None:
    """In a notebook, and in asynchronous tests."""

    async def slow(state: str) -> str:
        await asyncio.sleep(0)
        return state + "!"

    async def test() -> object:
        return stage_of(slow).call("a", None)

    assert asyncio.run(test()) == "a!"
