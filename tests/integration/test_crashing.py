"""What users test their own pipelines with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from milepost.tasks import Context, Milepost, Retry
from milepost.tasks.faultpoints import POINTS
from milepost.tasks.testing import crash_everywhere


@pytest.fixture
def app() -> Iterator[Milepost]:
    """Nothing answers there, and nobody asks."""
    app = Milepost("redis://127.0.0.1:1/0")
    yield app
    app.close()
    app.celery.close()


def test_a_sound_pipeline_survives_everywhere(app: Milepost) -> None:
    """Effects are counted in between: what `ctx.once` guards happens once, the rest with the body."""
    shop, effects = app.pipeline("shop"), Counter[str]()

    @shop.stage
    def order(state: dict[str, Any], ctx: Context) -> dict[str, Any]:
        ctx.once("pay", lambda: effects.update(["paid"]))
        effects["ordered"] += 1
        return {**state, "ordered": True}

    @shop.stage
    def send(state: dict[str, Any]) -> dict[str, Any]:
        return {**state, "sent": True}

    seen = []
    for survivor in crash_everywhere(shop, {"item": 7}):
        assert survivor.state == {"item": 7, "ordered": True, "sent": True}
        again = survivor.repeated and survivor.stage == "order"
        assert effects == {"paid": 1, "ordered": 1 + again}
        effects.clear()
        seen.append((survivor.stage, survivor.point, survivor.repeated))

    # The first stage's message is sent by whoever starts the run, and behind the last there is none.
    assert seen == [
        (None, None, False),
        *(
            ("order", point, point == "ran")
            for point in POINTS
            if point not in ("published", "noted")
        ),
        *(("send", point, point == "ran") for point in POINTS),
    ]


def test_it_goes_in_bursts_and_through_retries_too(app: Milepost) -> None:
    line, tries = app.pipeline("line", burst="1m"), Counter[str]()

    @line.stage(retry=Retry(attempts=2, backoff="1h"))
    def flaky(state: int, ctx: Context) -> int:
        tries[ctx.run_id] += 1
        if tries[ctx.run_id] == 1:
            raise ValueError
        return state + 1

    @line.stage
    def last(state: int) -> int:
        return state + 1

    assert {survivor.state for survivor in crash_everywhere(line, 1)} == {3}


def test_what_depends_on_the_try_is_found(app: Milepost) -> None:
    line = app.pipeline("line")

    @line.stage
    def draw(state: dict[str, Any], ctx: Context) -> dict[str, Any]:
        return {"try": ctx.attempt}

    says = "dying in stage draw at 'claimed', ended with {'try': 2}; undisturbed with"
    with pytest.raises(AssertionError, match=says):
        list(crash_everywhere(line, {}))
    found = crash_everywhere(line, {}, same=lambda one, other: one.keys() == other.keys())
    assert len(list(found)) > 5


def test_the_guide_shows_what_is_true() -> None:
    page = (Path(__file__).parents[2] / "docs/guides/testing.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "testing.md", "exec"), names)
    names["test_nobody_pays_twice"]()


def test_a_pipeline_that_fails_undisturbed_says_so(app: Milepost) -> None:
    line = app.pipeline("line")

    @line.stage
    def fail(state: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(f"no {uuid4()}")

    says = re.compile("A run of line, undisturbed, is failed at stage fail: .*no ")
    with pytest.raises(AssertionError, match=says):
        list(crash_everywhere(line, {}))
