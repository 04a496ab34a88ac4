"""What travels in the queue, and what is believed of it."""

from __future__ import annotations

from typing import Any

import pytest

from milepost.tasks.head import Step
from milepost.tasks.message import from_kwargs, to_kwargs


@pytest.mark.parametrize("step", [Step("r", 0, "load"), Step("r", 7, "load", timeline=2, lane="a")])
def test_read_back_equal(step: Step) -> None:
    """Whatever the timeline and lane."""
    assert step == from_kwargs("load", (), to_kwargs(step))


@pytest.mark.fault("F48", "S14")
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((1,), {"run_id": "r", "sequence": 1}),
        ((), {"run_id": "../r", "sequence": 1}),
        ((), {"run_id": "r" * 10_000, "sequence": 1}),
        ((), {"run_id": None, "sequence": 1}),
        ((), {"run_id": "r", "sequence": "1"}),
        ((), {"run_id": "r", "sequence": True}),
        ((), {"run_id": "r", "sequence": -1}),
        ((), {"run_id": "r", "sequence": 1 << 40}),
        ((), {"run_id": "r", "sequence": 1, "timeline": 1.5}),
        ((), {"run_id": "r", "sequence": 1, "lane": "a/b"}),
        ((), {"run_id": "r", "sequence": 1, "extra": 1}),
    ],
)
def test_foreign_messages_have_a_reason(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """They come back as text, not as an exception that could end a worker."""
    reason = from_kwargs("load", args, kwargs)

    assert isinstance(reason, str)
    assert len(reason) < 500
