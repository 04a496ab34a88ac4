"""What came of a storm: what was lost, done twice or repeated, and how soon it went on."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from milepost.checkpointing import CheckpointMetadata
from milepost.checkpointing.models import Kind
from milepost.tasks import Run, RunStatus
from support.ledger import Effect, Ledger

from .cargo import STAGES, arrived
from .faults import Strike


@dataclass(slots=True)
class Account:
    """Everything of one storm; `faultless` says whether what is promised was kept."""

    runs: int = 0
    lost: list[str] = field(default_factory=list)
    """Runs that did not come to their end, and where they stand."""
    dead_letters: list[str] = field(default_factory=list)
    wrong_states: list[str] = field(default_factory=list)
    double_commits: list[str] = field(default_factory=list)
    run_again: list[str] = field(default_factory=list)
    """Stages whose body began after they were committed."""
    strikes: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    """Processes that were ended while a stage of theirs ran."""
    tries: int = 0
    repeated_with_once: int = 0
    repeated_plainly: int = 0
    recoveries: list[float] = field(default_factory=list)
    """Seconds from the death of a process until its stage began again."""
    repeated_seconds: list[float] = field(default_factory=list)
    """Seconds for which the stage had run by then: no more than that is done again."""

    @property
    def faultless(self) -> bool:
        """Whether nothing was lost, set aside, wrong, committed twice or run again."""
        return not (
            self.lost
            or self.dead_letters
            or self.wrong_states
            or self.double_commits
            or self.run_again
        )

    def add(self, other: Account) -> None:
        """Count another storm, too."""
        self.runs += other.runs
        self.kills += other.kills
        self.tries += other.tries
        self.repeated_with_once += other.repeated_with_once
        self.repeated_plainly += other.repeated_plainly
        self.strikes += other.strikes
        for name in ("lost", "dead_letters", "wrong_states", "double_commits", "run_again"):
            getattr(self, name).extend(getattr(other, name))
        self.recoveries += other.recoveries
        self.repeated_seconds += other.repeated_seconds

    def __str__(self) -> str:
        kinds = ", ".join(f"{number} {kind}" for kind, number in self.strikes.most_common())
        lines = [
            f"runs                                  {self.runs} of {len(STAGES)} stages",
            f"faults                                {self.strikes.total()} ({kinds})",
            f"lost                                  {len(self.lost)}",
            f"dead letters                          {len(self.dead_letters)}",
            f"wrong states                          {len(self.wrong_states)}",
            f"double commits                        {len(self.double_commits)}",
            f"committed stages run again            {len(self.run_again)}",
            f"tries                                 {self.tries} of {self.runs * len(STAGES)} stages",
            f"stages that lost their process        {self.kills}",
            f"recovery p50 / p99                    {_percentiles(self.recoveries)} s",
            f"work repeated a crash, p50 / p99      {_percentiles(self.repeated_seconds)} s",
            f"effects twice per 1,000 such losses   {self._per_thousand(self.repeated_plainly)} plain, "
            f"{self._per_thousand(self.repeated_with_once)} with ctx.once",
        ]
        for name in ("lost", "dead_letters", "wrong_states", "double_commits", "run_again"):
            lines += [f"  {name}: {what}" for what in getattr(self, name)[:10]]
        return "\n".join(lines)

    def _per_thousand(self, repeated: int) -> str:
        return f"{1000 * repeated / self.kills:.1f}" if self.kills else "-"


def settle(runs: Sequence[Run], ledger: Ledger, strikes: Sequence[Strike]) -> Account:
    """Return the account of runs that have had their time."""
    account = Account(runs=len(runs), strikes=Counter(strike.kind for strike in strikes))
    effects: defaultdict[str, list[Effect]] = defaultdict(list)
    for effect in ledger.all():
        effects[effect.run].append(effect)
    deaths = {pid: strike.at for strike in strikes for pid in strike.pids}
    for run in runs:
        _settle_run(account, run, effects[run.id], deaths)
    return account


def _settle_run(
    account: Account, run: Run, effects: Sequence[Effect], deaths: dict[int, float]
) -> None:
    head = run.head
    if head.status is RunStatus.FAILED:
        account.dead_letters.append(f"{run.id}: {head.error}")
        return
    if head.status is not RunStatus.COMPLETED:
        account.lost.append(
            f"{run.id}: {head.status} at {head.stage}, token {head.token}, attempt {head.attempt}, last "
            f"cause {head.last_cause!r}, published at {head.published_at}, patience {head.patience_ms} ms"
        )
        return
    if run.state != arrived():
        account.wrong_states.append(f"{run.id}: {run.state}")
    commits = [found for found in run.checkpoints() if found.kind is Kind.COMMIT]
    places = Counter((found.lane, found.timeline, found.sequence) for found in commits)
    stages = [found.stage for found in sorted(commits, key=lambda found: found.sequence)]
    if set(places.values()) != {1} or stages != [None, *STAGES]:
        account.double_commits.append(f"{run.id}: {stages}, {places}")
    committed = {found.stage: found for found in commits}
    for stage in STAGES:
        _settle_stage(account, run.id, committed.get(stage), stage, effects, deaths)


def _settle_stage(
    account: Account,
    run_id: str,
    commit: CheckpointMetadata | None,
    stage: str,
    effects: Sequence[Effect],
    deaths: dict[int, float],
) -> None:
    tries = [effect for effect in effects if effect.stage == stage]
    account.tries += len(tries)
    once = sum(effect.stage == f"{stage} once" for effect in effects)
    plain = sum(effect.stage == f"{stage} plain" for effect in effects)
    account.repeated_with_once += max(0, once - 1)
    account.repeated_plainly += max(0, plain - 1)
    if commit is None:
        return
    at = commit.created_at.timestamp()
    account.run_again += [f"{run_id} {stage}: {one}" for one in tries if one.time > at]
    for one, again in pairwise(tries):
        died = deaths.get(one.pid)
        if died is not None and one.time <= died <= again.time:
            account.kills += 1
            account.recoveries.append(again.time - died)
            account.repeated_seconds.append(died - one.time)


def _percentiles(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "-"
    parts = statistics.quantiles(values, n=100, method="inclusive")
    return f"{parts[49]:.2f} / {parts[98]:.2f}"
