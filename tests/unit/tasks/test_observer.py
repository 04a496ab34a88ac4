"""Observers are told of everything, and can break nothing."""

from __future__ import annotations

import pytest

from milepost.tasks.head import Head
from milepost.tasks.observer import Ending, Observer, Observers, Outcome, outcome_of

HEAD = Head("run", "line", "1", "", 1)


class Notes(Observer):
    def __init__(self) -> None:
        self.notes: list[object] = []

    def begin(self, head: Head, stage: str) -> Ending:
        self.notes.append(("begin", stage))
        return lambda outcome, error: self.notes.append((outcome, error))

    def unheard(self) -> None:
        self.notes.append("unheard")


class Broken(Observer):
    def begin(self, head: Head, stage: str) -> Ending:
        raise RuntimeError("begin")

    def unheard(self) -> None:
        raise RuntimeError("unheard")


class BadEnd(Observer):
    def begin(self, head: Head, stage: str) -> Ending:
        def end(outcome: Outcome, error: BaseException | None) -> None:
            raise RuntimeError("end")

        return end


def test_one_that_raises_keeps_no_other_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    observers, notes = Observers(), Notes()
    for each in (Broken(), BadEnd(), notes):
        observers.add(each)
    end = observers.begin(HEAD, "load")
    assert end is not None
    end(Outcome.COMMITTED, None)
    observers.unheard()

    assert notes.notes == [("begin", "load"), (Outcome.COMMITTED, None), "unheard"]
    assert caplog.text.count("Observing failed") == 3


def test_nobody_has_nothing_to_end() -> None:
    observers = Observers()
    assert not observers
    assert observers.begin(HEAD, "load") is None
    observers.add(Observer())
    assert observers
    assert observers.begin(HEAD, "load") is None


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("completed", Outcome.COMMITTED),
        ("advanced to second", Outcome.COMMITTED),
        ("adopted: completed", Outcome.ADOPTED),
        ("adopted: advanced to second", Outcome.ADOPTED),
        ("handed back", Outcome.HANDED_BACK),
        ("fenced", Outcome.FENCED),
        ("occupied", Outcome.FENCED),
        ("paused: out of budget", Outcome.PARKED),
    ],
)
def test_what_the_engine_says(said: str, outcome: Outcome) -> None:
    assert outcome_of(said) is outcome


def test_the_try_before() -> None:
    lost = Head("run", "line", "1", "", 1, attempt=2, last_cause="owner")
    fresh = Head("run", "line", "1", "", 1, attempt=1, last_cause="owner")

    assert lost.recovered_from == "owner"
    assert fresh.recovered_from == "", "the stage before it was the one that was lost"
