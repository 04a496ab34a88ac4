"""A store that is away while a stage saves or pays: the stage goes on, and pays once."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from milepost.checkpointing import CheckpointManager, Kind, Record, Unavailable
from milepost.checkpointing.stores.memory import MemoryCheckpointStore
from milepost.tasks.errors import ClaimLost, StoreFailed
from milepost.tasks.runs.memory import MemoryRunStore
from milepost.tasks.scratch import Scratch
from milepost.tasks.testing.case import claimed


class Flaky(MemoryCheckpointStore):
    """Away for the next so many puts."""

    away = 0

    def put(self, record: Record) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("The store is away.")
        super().put(record)


class Bench:
    """A claim, and the scratch of its try."""

    def __init__(self) -> None:
        self.log = Flaky()
        self.runs = MemoryRunStore()
        self.claim = claimed(self.runs)
        self.announced: list[tuple[int, int | None]] = []
        self.guard: Callable[[], None] = lambda: None
        self.tries = 3
        self.kept: list[None] = []
        self.scratch = self.another()

    def another(self) -> Scratch:
        runtime: Any = SimpleNamespace(
            runs=self.runs, checkpoints=CheckpointManager(self.log), log_in_runs=False
        )
        head = self.runs.get(self.claim.head.run_id)
        assert head is not None
        claim = SimpleNamespace(head=head, token=self.claim.token, nonce=self.claim.nonce)
        return Scratch(
            runtime,
            claim,  # type: ignore[arg-type]
            lambda: self.guard(),
            self._patiently,  # type: ignore[arg-type]
            lambda: self.kept.append(None),
            lambda done, total: self.announced.append((done, total)),
        )

    def _patiently(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        for left in range(self.tries - 1, -1, -1):
            try:
                return call(*args, **kwargs)
            except Unavailable:
                if not left:
                    raise
        raise AssertionError


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_was_saved_is_found_by_the_next_try(bench: Bench) -> None:
    for done in (1, 2):
        bench.scratch.save({"value": done}, done, 5)
    assert bench.another().saved() == {"value": 2}
    assert bench.announced == [(1, 5), (2, 5)]
    assert len([*bench.log.entries(bench.claim.head.run_id, Kind.PROGRESS)]) == 1


@pytest.mark.parametrize("what", ["guard", "put"])
def test_a_store_that_is_away_does_not_stop_a_stage_that_saves(bench: Bench, what: str) -> None:
    bench.scratch.save({"value": 1}, 1, None)
    if what == "put":
        bench.log.away = 99
    else:
        bench.guard = _away
    bench.scratch.save({"value": 2}, 2, None)
    bench.log.away, bench.guard = 0, lambda: None
    assert bench.another().saved() == {"value": 1}
    bench.scratch.save({"value": 3}, 3, None)
    assert bench.another().saved() == {"value": 3}


def test_who_lost_the_run_learns_it_though_the_log_is_away(bench: Bench) -> None:
    bench.runs.bury("ann", "child")
    with pytest.raises(ClaimLost):
        bench.scratch.save({"value": 1}, 1, None)
    assert [*bench.log.entries(bench.claim.head.run_id, Kind.PROGRESS)] == []


def test_what_was_paid_is_kept_as_long_as_a_commit_would_be(bench: Bench) -> None:
    paid: list[int] = []

    def pay() -> str:
        paid.append(1)
        return "receipt"

    bench.log.away = 2
    assert bench.scratch.once("pay", pay) == "receipt"
    assert bench.another().once("pay", pay) == "receipt"
    assert paid == [1]
    assert bench.scratch.once("pay-2", pay) == "receipt"
    assert paid == [1, 1]


def test_a_journal_that_cannot_be_written_is_no_failure_of_the_stage(bench: Bench) -> None:
    bench.log.away = 99
    with pytest.raises(StoreFailed) as caught:
        bench.scratch.once("pay", lambda: "receipt")
    assert isinstance(caught.value.error, Unavailable)
    assert not isinstance(caught.value, Exception)


def _away() -> None:
    raise Unavailable("The store is away.")
