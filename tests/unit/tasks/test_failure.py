"""What is kept of an error, and what failures of one cause share."""

from __future__ import annotations

import json

import pytest

from milepost.tasks.failure import describe, fingerprint
from milepost.tasks.stage import Stage, StageOptions


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("row 17 is bad", "row 4,211 is bad"),
        ("no such file: '/data/a.csv'", "no such file: '/data/b.csv'"),
        ('key "eu" is missing', 'key "us" is missing'),
        ("request 4f9c2ab01d failed", "request 00aa1bd9c3 failed"),
        ("id 3e7c3f70-9a1b-4d59-8c5e-8b1f6d2c4a11", "id 9d1c5bb2-6f0e-4c7d-9b1a-0e4f7a6b3c22"),
        ("it is broken\nrow 1", "it is broken\nelsewhere"),
    ],
)
def test_what_differs_from_run_to_run_does_not_count(one: str, other: str) -> None:
    """Numbers, ids, what is quoted, and all but the first line."""
    assert fingerprint("p", "s", "E", one) == fingerprint("p", "s", "E", other)


@pytest.mark.parametrize(
    "other",
    [
        ("q", "s", "E", "it is bad"),
        ("p", "t", "E", "it is bad"),
        ("p", "s", "F", "it is bad"),
        ("p", "s", "E", "it is worse"),
    ],
)
def test_causes_are_told_apart(other: tuple[str, str, str, str]) -> None:
    """By pipeline, stage, type and words."""
    assert fingerprint("p", "s", "E", "it is bad") != fingerprint(*other)


@pytest.mark.fault("F58")
def test_an_error_is_described_with_its_group_and_without_its_password() -> None:
    """As JSON that a head keeps."""
    error = ValueError("cannot reach redis://user:hunter2@host/0, try 3")

    kept = json.loads(describe(error, "flights", "load", since=5))

    assert kept["group"] == fingerprint("flights", "load", "ValueError", str(error))
    assert (kept["type"], kept["stage"], kept["since"]) == ("ValueError", "load", 5)
    assert "hunter2" not in json.dumps(kept)


def test_the_traceback_begins_in_the_stage() -> None:
    """How it came to be called is of no interest."""

    def act(state: dict[str, int]) -> dict[str, int]:
        return {"n": 1 // state["n"]}

    stage = Stage("act", act, StageOptions())
    with pytest.raises(ZeroDivisionError) as caught:
        stage.call({"n": 0}, None)
    error = caught.value
    # As the engine sees it, which lies in the same folder as the stage's class.
    error.__traceback__ = caught.tb.tb_next

    trace = json.loads(describe(error, "short", "act"))["traceback"]

    assert trace.count("File ") == 1
    assert "1 // state" in trace
    assert "test_failure.py" in trace


def test_what_is_kept_of_an_error_is_bounded() -> None:
    """Heads are read by the hundred."""

    def deeper(left: int) -> None:
        if left:
            deeper(left - 1)
        raise ValueError("x" * 100_000)

    # Two functions, because repeated lines of one are folded.
    def other(left: int) -> None:
        if left:
            return other_way(left - 1)
        raise KeyError("deep")

    def other_way(left: int) -> None:
        return other(left)

    with pytest.raises(ValueError, match="x") as long:
        deeper(0)
    with pytest.raises(KeyError) as deep:
        other(100)

    kept = json.loads(describe(long.value, "short", "act"))
    assert (len(kept["message"]), len(kept["traceback"])) == (2_000, 8_000)
    trace = json.loads(describe(deep.value, "short", "act"))["traceback"]
    assert 15 < trace.count("File ") <= 20
    assert trace.endswith("KeyError: 'deep'\n")


def test_an_error_that_cannot_say_what_it_is() -> None:
    """Its class is told."""

    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    kept = json.loads(describe(Broken(), "short", "act"))
    assert kept["type"] == "Broken"
    assert kept["message"] == "(its text cannot be had: RuntimeError)"


def test_an_error_of_milepost_itself_keeps_its_frames() -> None:
    """There are no others then."""
    with pytest.raises(AttributeError) as caught:
        fingerprint("short", "act", "E", 5)  # type: ignore[arg-type]
    error = caught.value
    error.__traceback__ = caught.tb.tb_next
    assert "failure.py" in json.loads(describe(error, "short", "act"))["traceback"]
