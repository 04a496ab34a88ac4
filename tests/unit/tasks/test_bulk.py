"""What a bulk command does to whom, at which rate, and what it tells of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from milepost.checkpointing import Misconfigured, Unavailable
from milepost.tasks import Bulk, Command, Conflict, RunQuery, RunStatus, Summary
from milepost.tasks import bulk as bulk_module
from milepost.tasks.lifecycle import Lifecycle
from milepost.tasks.runs.memory import MemoryRunStore
from milepost.tasks.testing.case import claimed, commit_of, created, deleted, new_head

ALL = RunQuery(pipeline="orders")


class Operator:
    """Pauses runs as `Lifecycle` does, and whatever else a test wants to happen before."""

    by = "ann"

    def __init__(self, runs: MemoryRunStore) -> None:
        self._runs = runs
        self.before: Callable[[str], object] = lambda run_id: None
        self.paused: list[str] = []

    def pause(self, run_id: str) -> None:
        self.before(run_id)
        self._runs.pause(run_id)
        self.paused.append(run_id)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def runs() -> MemoryRunStore:
    return MemoryRunStore()


@pytest.fixture
def operator(runs: MemoryRunStore) -> Operator:
    return Operator(runs)


@pytest.fixture
def bulk(runs: MemoryRunStore, operator: Operator) -> Bulk:
    return Bulk(runs, cast("Lifecycle", operator))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(bulk_module, "time", clock)
    return clock


def test_all_pages_are_met_and_noted_once(
    runs: MemoryRunStore, bulk: Bulk, operator: Operator
) -> None:
    """The ids of the first thousand are told, and each step on the way."""
    ids = [created(runs).run_id for _ in range(1_203)]
    told: list[int] = []

    def watch(summary: Summary) -> None:
        told.append(summary.done)

    summary = bulk.apply(Command.PAUSE, ALL, watch=watch)

    assert operator.paused == ids[::-1]
    assert (summary.found, summary.done, summary.dry_run) == (1_203, 1_203, False)
    assert summary.run_ids == ids[:-1_001:-1]
    assert told == [*range(1, 1_204)]
    [note] = runs.notes()
    assert (note.run_id, note.by, note.command) == ("", "ann", "bulk pause")
    assert "pipeline=orders" in note.detail


def test_a_dry_run_does_and_notes_nothing(
    runs: MemoryRunStore, bulk: Bulk, operator: Operator, clock: Clock
) -> None:
    """It counts, without waiting; every run may be counted."""
    ids = [created(runs).run_id for _ in range(3)]
    summary = bulk.apply(Command.PAUSE, RunQuery(), dry_run=True, rate_per_second=1)
    assert (summary.found, summary.done, summary.run_ids) == (3, 3, ids[::-1])
    assert (operator.paused, runs.notes(), clock.now) == ([], [], 1_000)


def test_a_tenant_alone_is_no_condition(runs: MemoryRunStore, bulk: Bulk) -> None:
    """Who may see one tenant's runs alone would else mean all there are by saying nothing."""
    created(runs)
    with pytest.raises(Misconfigured, match="would meet every run"):
        bulk.apply(Command.PAUSE, RunQuery(tenant="acme"))
    assert bulk.apply(Command.PAUSE, RunQuery(tenant="acme"), every_run=True).found == 0


def test_who_is_not_meant_by_the_table_is_not_refused(runs: MemoryRunStore, bulk: Bulk) -> None:
    """A run that has completed cannot be paused, and nobody asked for that."""
    claim = claimed(runs)
    runs.advance(claim, commit_of(claim, None))
    waits = created(runs)
    summary = bulk.apply(Command.PAUSE, ALL)
    assert (summary.found, summary.run_ids, summary.refused.total()) == (1, [waits.run_id], 0)


def test_refusals_do_not_count_against_the_limit(
    runs: MemoryRunStore, bulk: Bulk, operator: Operator
) -> None:
    """And the first ten say why."""
    ids = [created(runs).run_id for _ in range(20)][::-1]
    told: list[int] = []

    def refuse(run_id: str) -> None:
        if ids.index(run_id) < 15:
            raise Conflict(f"no {ids.index(run_id)}", run_id=run_id)

    operator.before = refuse
    summary = bulk.apply(
        Command.PAUSE, ALL, limit=2, watch=lambda summary: told.append(summary.found)
    )

    assert (summary.found, summary.done, summary.run_ids) == (17, 2, ids[15:17])
    assert dict(summary.refused) == {"Conflict": 15}
    assert summary.examples == [f"no {number}" for number in range(10)]
    assert told == [*range(1, 18)]


def test_a_store_that_is_away_ends_it(runs: MemoryRunStore, bulk: Bulk, operator: Operator) -> None:
    """All others would be refused for the same reason."""
    for _ in range(3):
        created(runs)

    def away(run_id: str) -> None:
        raise Unavailable("gone fishing")

    operator.before = away
    with pytest.raises(Unavailable, match="gone fishing"):
        bulk.apply(Command.PAUSE, ALL)


def test_whoever_moves_on_before_its_turn_is_left_alone(
    runs: MemoryRunStore, bulk: Bulk, operator: Operator
) -> None:
    """Be it deleted, in another status, at another stage, or failed anew at the same one."""
    waits = frozenset({RunStatus.QUEUED, RunStatus.SCHEDULED})
    gone, running, further, anew = (created(runs) for _ in range(4))
    first = created(runs)

    def others_move(run_id: str) -> None:
        runs.pause(gone.run_id)
        deleted(runs, gone.run_id)
        claimed(runs, running)
        claim = claimed(runs, further)
        runs.advance(claim, commit_of(claim))
        runs.fail(claimed(runs, anew), "{}", None)
        failed = runs.get(anew.run_id)
        assert failed is not None
        assert runs.resume(failed)

    operator.before = others_move
    summary = bulk.apply(Command.PAUSE, RunQuery(status=waits))

    assert operator.paused == [first.run_id]
    assert (summary.found, dict(summary.refused)) == (5, {"Conflict": 4})
    assert all("has moved on since it was found" in said for said in summary.examples)


def test_a_rate_is_kept(runs: MemoryRunStore, bulk: Bulk, operator: Operator, clock: Clock) -> None:
    """After a stall, what was missed within the last second is made up for, and not more."""
    for _ in range(40):
        created(runs, new_head())
    at: list[float] = []

    def note(run_id: str) -> None:
        at.append(clock.now)
        if len(at) == 5:
            clock.now += 60

    operator.before = note
    bulk.apply(Command.PAUSE, ALL, rate_per_second=10, rest=clock.sleep)

    assert at[:5] == pytest.approx([1_000, 1_000.1, 1_000.2, 1_000.3, 1_000.4])
    assert at[5:16] == pytest.approx([1_060.4] * 11)
    assert at[16:18] == pytest.approx([1_060.5, 1_060.6])
    assert len(at) == 40
