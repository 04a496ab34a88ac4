"""The one judge of all fault tests: what must hold after a run, whatever was done to its workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import redis

from milepost.checkpointing import CheckpointMetadata
from milepost.checkpointing.models import Kind
from milepost.checkpointing.redis_connection import ALL_PREFIXES, prefix_of
from milepost.tasks import Milepost, Run, liveness

from .ledger import Ledger
from .waiting import eventually


class Checker:
    """Judges runs of one app.

    Args:
        runs: A client of the run store's Redis.
        broker: A client of the broker; the same where they are one.
    """

    def __init__(
        self, app: Milepost, ledger: Ledger, runs: redis.Redis, broker: redis.Redis | None = None
    ) -> None:
        self._app = app
        self._ledger = ledger
        self._runs = runs
        self._broker = broker or runs

    def judge(
        self,
        run: Run,
        *,
        state: Any,
        stages: Collection[str],
        executions: Mapping[str, int | Collection[int]],
        queues: Collection[str] = ("milepost",),
        deadline_s: float = 15.0,
    ) -> None:
        """Assert every invariant.

        Args:
            state: The final state.
            stages: All stages in order.
            executions: How often the stages' bodies may have run, where that is not once.
        """
        run.wait(deadline_s)
        assert run.state == state
        path = self._commits(run, stages)
        self._effects(run, path, stages, executions)
        self._nothing_left(run, queues)

    def _commits(self, run: Run, stages: Collection[str]) -> list[CheckpointMetadata]:
        commits = [found for found in run.checkpoints() if found.kind is Kind.COMMIT]
        places = Counter((found.lane, found.timeline, found.sequence) for found in commits)
        assert set(places.values()) == {1}, f"written twice: {places}"
        by_id = {found.checkpoint_id: found for found in commits}
        assert len(by_id) == len(commits), "two checkpoints have one id"
        path: list[CheckpointMetadata] = []
        step: str | None = run.head.checkpoint_id
        while step is not None:
            path.insert(0, by_id[step])
            step = by_id[step].parent
        assert [found.sequence for found in path] == [*range(len(stages) + 1)]
        assert [found.stage for found in path] == [None, *stages]
        tokens = [found.token for found in path]
        assert tokens == sorted(tokens), f"tokens fall: {tokens}"
        head = run.head
        assert head.token >= tokens[-1]
        assert head.stages_done == len(stages), f"{head.stages_done} stages counted"
        assert path == sorted(commits, key=lambda found: found.sequence), "commits off the path"
        return path[1:]

    def _effects(
        self,
        run: Run,
        path: Collection[CheckpointMetadata],
        stages: Collection[str],
        executions: Mapping[str, int | Collection[int]],
    ) -> None:
        effects = self._ledger.entries(run.id)
        counts = Counter(effect.stage for effect in effects)
        for stage in stages:
            allowed = executions.get(stage, 1)
            allowed = {allowed} if isinstance(allowed, int) else allowed
            assert counts[stage] in allowed, f"{stage} ran {counts[stage]} times, not {allowed}"
            keys = {effect.key for effect in effects if effect.stage == stage}
            assert len(keys) == 1, f"tries of {stage} have several idempotency keys: {keys}"
        committed = {found.stage: found for found in path}
        for effect in effects:
            commit = committed[effect.stage]
            assert effect.time <= commit.created_at.timestamp(), f"ran after its commit: {effect}"
            assert effect.attempt <= commit.attempt, f"a later attempt than the commit's: {effect}"

    def _nothing_left(self, run: Run, queues: Collection[str]) -> None:
        eventually(
            lambda: not self._remains(run, queues),
            8.0,
            lambda: f"nothing left behind, but: {self._remains(run, queues)}",
        )

    def _remains(self, run: Run, queues: Collection[str]) -> list[str]:
        folder = self._app.runtime.folder
        found = [f"lock of {gone.owner}" for gone in liveness.gone(folder)]
        found += [f"flag {flag.name}" for flag in folder.glob("stopping-*")]
        living = {owner.owner for owner in liveness.owners(folder)}
        for prefix in ALL_PREFIXES:
            names = [owner.decode() for owner in self._zset(f"{prefix}owners")]
            found += [f"owner {name} in {prefix}" for name in names if name not in living]
        found += [key.decode() for key in self._runs.scan_iter("milepost:*:claims:*", 10_000)]
        found += [key.decode() for key in self._runs.scan_iter("milepost:*:trial", 10_000)]
        if self._runs.zscore(f"{prefix_of(run.id)}due", run.id) is not None:
            found.append("the run in the due index")
        for queue in queues:
            if waiting := self._broker.llen(queue):
                found.append(f"{waiting} messages in {queue}")
        found += [key for key in ("unacked", "unacked_index") if self._broker.exists(key)]
        return found

    def _zset(self, key: str) -> list[bytes]:
        members: Any = self._runs.zrange(key, 0, -1)
        return list(members)
