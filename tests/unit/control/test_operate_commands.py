"""What the commands that change runs make of their options, without a store."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from milepost.checkpointing import Misconfigured
from milepost.control import operate_commands
from milepost.tasks import Command, RunQuery, RunStatus, Summary
from milepost.tasks.head import Head
from milepost.tasks.runs.memory import MemoryRunStore
from milepost.tasks.testing.case import claimed, commit_of, created, read


class Desk:
    """An app that notes what is asked of it; a retry puts a run on its queue, and then `then` happens."""

    def __init__(self) -> None:
        self.runs = MemoryRunStore()
        self.bulk = self.lifecycle = self
        self.applied: list[tuple[Command, RunQuery, dict[str, Any]]] = []
        self.retried: list[str] = []
        self.then: Callable[[Head], object] = lambda head: None

    def apply(self, command: Command, query: RunQuery, **options: Any) -> Summary:
        del options["watch"]
        self.applied.append((command, query, options))
        return Summary(command, dry_run=options["dry_run"])

    def retry(self, run_id: str) -> None:
        self.retried.append(run_id)
        assert self.runs.resume(self.head(run_id))
        self.then(self.head(run_id))

    def head(self, run_id: str) -> Head:
        return read(self.runs, run_id)

    def failed(self) -> Head:
        claim = claimed(self.runs, created(self.runs))
        self.runs.fail(claim, '{"group": "g"}', None)
        return self.head(claim.head.run_id)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk()
    monkeypatch.setattr(operate_commands, "load_app", lambda name: desk)
    return desk


def obeyed(command: click.Command, *words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(command, [*words])
    if isinstance(result.exception, Misconfigured):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def plain(**options: Any) -> dict[str, Any]:
    defaults = {"dry_run": False, "every_run": False, "rate_per_second": None, "limit": None}
    return {"arguments": {}, **defaults, **options}


def test_every_option_reaches_the_bulk_command(desk: Desk) -> None:
    words = "--status failed --status paused --pipeline p --stage s --group g --tag t --tenant x"
    times = "--since 2030-01-31T00:00+00:00 --until 2030-02-01T00:00+00:00"

    obeyed(operate_commands.pause, *words.split(), *times.split(), "--rate", "5", "--limit", "3")

    day = int(datetime(2030, 1, 31, tzinfo=UTC).timestamp() * 1000)
    status = frozenset({RunStatus.FAILED, RunStatus.PAUSED})
    query = RunQuery(status, "p", "s", "g", "t", "x", day, day + 86_400_000)
    [(command, asked, options)] = desk.applied
    assert (command, asked) == (Command.PAUSE, query)
    assert options == plain(rate_per_second=5, limit=3)


def test_a_span_of_time_ends_now(desk: Desk) -> None:
    obeyed(operate_commands.cancel, "--since", "2h", "--until", "1h")
    [(_, query, _)] = desk.applied
    assert query.since_ms is not None
    assert query.until_ms is not None
    assert query.until_ms - query.since_ms == pytest.approx(3_600_000, abs=1_000)
    assert query.until_ms == pytest.approx((time.time() - 3_600) * 1000, abs=10_000)


@pytest.mark.parametrize(
    ("command", "words", "arguments"),
    [
        (operate_commands.rewind, ["--to", "c"], {"stage": "c", "checkpoint_id": None}),
        (operate_commands.rewind, ["--checkpoint", "c"], {"stage": None, "checkpoint_id": "c"}),
        (operate_commands.edit, ["--patch", '{"n": null}'], {"patch": {"n": None}}),
        (operate_commands.edit, ["--state", "[1]"], {"state": [1]}),
        (operate_commands.top_up, ["--by", "usd=5", "--by", "tokens=2"],
         {"amounts": {"usd": 5.0, "tokens": 2.0}}),
    ],
)  # fmt: skip
def test_own_options_become_arguments(
    desk: Desk, command: click.Command, words: list[str], arguments: dict[str, Any]
) -> None:
    obeyed(command, "--pipeline", "p", *words)
    assert desk.applied[0][2] == plain(arguments=arguments)


def test_every_run_is_meant_only_by_saying_so(desk: Desk) -> None:
    """To count them needs no such word."""
    with pytest.raises(Misconfigured, match="every run: --yes"):
        obeyed(operate_commands.cancel)
    assert desk.applied == []
    obeyed(operate_commands.cancel, "--dry-run")
    obeyed(operate_commands.cancel, "--yes")
    assert [options for _, _, options in desk.applied] == [
        plain(dry_run=True),
        plain(every_run=True),
    ]


@pytest.mark.parametrize("option", ["--dry-run", "--canary=1m", "--tenant=x", "--status=failed"])
def test_named_runs_are_not_chosen_as_well(desk: Desk, option: str) -> None:
    """What is left out of account would be done to the runs named."""
    head = desk.failed()
    with pytest.raises(Misconfigured, match="not both"):
        obeyed(operate_commands.retry, head.run_id, option)
    assert (desk.retried, desk.applied) == ([], [])


def test_behind_a_canary_that_gets_past_its_stage_go_the_others(desk: Desk) -> None:
    """The canary is the youngest of them that has failed."""
    desk.failed()
    youngest = desk.failed()
    created(desk.runs)

    def advance(head: Head) -> None:
        claim = claimed(desk.runs, head)
        desk.runs.advance(claim, commit_of(claim))

    desk.then = advance
    shown = obeyed(operate_commands.retry, "--pipeline", "orders", "--canary", "1m").output
    assert f"Canary {youngest.run_id} got past first." in shown
    assert desk.retried == [youngest.run_id]
    assert [command for command, _, _ in desk.applied] == [Command.RETRY]


@pytest.mark.parametrize("fails", [True, False])
def test_behind_a_canary_that_fails_or_is_late_goes_nobody(desk: Desk, fails: bool) -> None:
    """While it runs, nobody knows yet."""
    desk.failed()

    def begin(head: Head) -> None:
        claim = claimed(desk.runs, head)
        if fails:
            desk.runs.fail(claim, "{}", None)

    desk.then = begin
    shown = obeyed(operate_commands.retry, "--group", "g", "--canary", "0.3s", code=1).output
    assert f"is {'failed' if fails else 'running'} in first; the others are left alone." in shown
    assert len(desk.retried) == 1
    assert desk.applied == []


def test_without_a_failed_run_there_is_no_canary(desk: Desk) -> None:
    """Nor is there one where runs are only counted."""
    head = desk.failed()
    obeyed(operate_commands.retry, "--group", "none", "--canary", "1m")
    obeyed(operate_commands.retry, "--group", "g", "--canary", "1m", "--dry-run")
    assert desk.retried == []
    assert [query.group for _, query, _ in desk.applied] == ["none", "g"]
    assert desk.head(head.run_id) == head
