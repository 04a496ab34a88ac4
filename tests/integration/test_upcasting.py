"""States that another version of the pipeline wrote."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel

from integration.deploys import Deploys, begun, finish, step
from milepost.tasks import RunStatus
from milepost.tasks.setbacks import StageFailed


class Old(BaseModel):
    name: str


class New(BaseModel):
    first: str
    last: str
    born: date = date(2000, 1, 1)


@pytest.mark.fault("F68")
def test_states_are_upcast(deploys: Deploys) -> None:
    old = deploys.app(version="0")
    first = old.pipeline("people", version="1")

    @first.stage
    def ask(state: Old) -> Old:
        return state

    @first.stage
    def greet(state: Old) -> Old:
        raise AssertionError

    run = first.start(Old(name="Ada Lovelace"))
    step(old, run.id)
    new = deploys.app(version="0")
    third = new.pipeline("people", version="3")

    @third.upcast("1")
    def split(state: dict[str, Any]) -> dict[str, Any]:
        first, last = state.pop("name").split()
        return {"first": first, "last": last}

    @third.upcast("2")
    def date_of_birth(state: dict[str, Any]) -> dict[str, Any]:
        return {**state, "born": "1815-12-10"}

    @third.stage(name="ask")
    def ask_again(state: New) -> New:
        raise AssertionError

    @third.stage(name="greet")
    def greet_newly(state: New) -> New:
        assert state == New(first="Ada", last="Lovelace", born=date(1815, 12, 10))
        return state.model_copy(update={"last": "King"})

    assert new.run(run.id).state == New(first="Ada", last="Lovelace", born=date(1815, 12, 10))
    finished = finish(new, run.id)
    assert finished.state == New(first="Ada", last="King", born=date(1815, 12, 10))


def test_an_upcaster_that_fails_sets_the_run_aside_with_its_state(deploys: Deploys) -> None:
    run_id = begun(deploys.app("a", "b"))
    new = deploys.app("a", "b", version="2")
    line = new.versions["line"].current

    @line.upcast("1")
    def forgets(state: dict[str, Any]) -> None:
        state.clear()

    with pytest.raises(StageFailed, match="upcaster of pipeline line returned None"):
        step(new, run_id)
    assert new.run(run_id).status is RunStatus.FAILED
    fixed = deploys.app("a", "b", version="2")
    fixed.run(run_id).retry()
    assert finish(fixed, run_id).state == {"a": "1", "b": "2"}
