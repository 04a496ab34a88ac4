"""Two checkpoints are compared field by field, and one is written for other programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from milepost.checkpointing import (
    ABSENT,
    Checkpoint,
    CheckpointMetadata,
    Corrupt,
    Difference,
    compare,
)


class Row(BaseModel):
    price: float
    seen: int = 0


def checkpoint(state: Any, **parts: Any) -> Checkpoint:
    return Checkpoint(metadata=CheckpointMetadata(run_id="run", sequence=0), state=state, **parts)


@pytest.mark.parametrize(
    ("before", "after", "differences"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 1.0}, [Difference("state.a", 1, 1.0)]),
        ({"a": 1}, {"a": True}, [Difference("state.a", 1, True)]),
        ({"a": 1}, {"b": 1}, [Difference("state.a", 1, ABSENT), Difference("state.b", ABSENT, 1)]),
        ([1, 2], [1, 3, 4], [Difference("state[1]", 2, 3), Difference("state[2]", ABSENT, 4)]),
        ({"a": [1]}, {"a": {"0": 1}}, [Difference("state.a", [1], {"0": 1})]),
        (None, {}, [Difference("state", None, {})]),
        (
            {"rows": [Row(price=1)]},
            {"rows": [Row(price=2)]},
            [Difference("state.rows[0].price", 1.0, 2.0)],
        ),
        ({"a": np.arange(3)}, {"a": np.arange(3)}, []),
    ],
    ids=repr,
)
def test_differences_are_found_where_they_are(
    before: Any, after: Any, differences: list[Difference]
) -> None:
    assert compare(checkpoint(before), checkpoint(after)) == differences


def test_all_parts_are_compared() -> None:
    before = checkpoint(1, messages=["a"], tool_calls=[{"n": 1}], context={"u": 1})
    after = checkpoint(2, messages=["b"], tool_calls=[{"n": 2}], context={})
    paths = [difference.path for difference in compare(before, after)]
    assert paths == ["state", "messages[0]", "tool_calls[0].n", "context.u"]


def test_a_checkpoint_goes_through_json_and_back() -> None:
    state = {"at": datetime(2026, 1, 2, tzinfo=UTC), "pair": (1, b"\0"), "~": {"~dict": 1}}
    before = checkpoint(state, messages=[{"role": "user"}], context={"user": 7})
    assert Checkpoint.from_json(before.to_json()) == before
    assert Checkpoint.from_dict(before.to_dict()) == before
    assert Checkpoint.from_dict(json.loads(json.dumps(before.to_dict()))) == before
    assert before.to_dict()["messages"] == [{"role": "user"}]


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", '{"metadata": {}, "state": 1}'])
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Corrupt, match="no checkpoint"):
        Checkpoint.from_json(text)
