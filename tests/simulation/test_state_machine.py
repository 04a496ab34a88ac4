"""The same world in Hypothesis' hands, which shrinks what it finds to a few steps."""

from __future__ import annotations

import random
from typing import cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from milepost.tasks.runs import Cause

from .calm import come_to_rest
from .operators import COMMANDS
from .weather import FAULTS, PLACES, Fault
from .world import Setup, World

_MOST_WORKERS = 3
index = st.integers(0, 50)


class Machine(RuleBasedStateMachine):
    """Each rule is something that may happen at any time; in the end all faults stop."""

    world: World

    @initialize(
        log_in_runs=st.booleans(),
        queue_in_runs=st.booleans(),
        burst=st.booleans(),
        runs=st.integers(1, 2),
    )
    def begin(self, log_in_runs: bool, queue_in_runs: bool, burst: bool, runs: int) -> None:
        random.seed(0)
        self.world = World(Setup(log_in_runs, queue_in_runs, burst))
        self.runs = runs
        for number in range(runs):
            self.world.hire()
            self.start(number)
            self.run_on(0)

    @rule(at=index)
    def start(self, at: int) -> None:
        number = at % self.runs
        self.world.operators.start(f"r{number}", number)

    @rule(at=index)
    def step(self, at: int) -> None:
        if ready := self.world.ready():
            self.world.step(ready[at % len(ready)])

    @rule(at=index)
    def run_on(self, at: int) -> None:
        if ready := self.world.ready():
            self.world.finish(ready[at % len(ready)])

    @precondition(lambda self: self.world.queue.messages)
    @rule(at=index, who=index)
    def deliver(self, at: int, who: int) -> None:
        if idle := [worker for worker in self.world.workers if worker.is_idle]:
            self.world.deliver(at, idle[who % len(idle)])

    @precondition(lambda self: self.world.queue.messages)
    @rule(at=index)
    def duplicate(self, at: int) -> None:
        messages = self.world.queue.messages
        messages.append(messages[at % len(messages)])

    @precondition(lambda self: self.world.queue.messages)
    @rule(at=index)
    def drop(self, at: int) -> None:
        self.world.queue.messages.pop(at % len(self.world.queue.messages))

    @precondition(lambda self: self.world.workers)
    @rule(who=index, cause=st.sampled_from(["child", "owner"]))
    def kill(self, who: int, cause: str) -> None:
        world = self.world
        if any(head.crashes >= world.settings.max_crashes - 1 for head in world.heads().values()):
            cause = "owner"
        world.kill(world.workers[who % len(world.workers)], cast(Cause, cause))
        world.hire()

    @rule(at=index)
    def bury(self, at: int) -> None:
        idle = [guardian for guardian in self.world.guardians if guardian.is_idle]
        if self.world.corpses and idle:
            self.world.bury(at, idle[0])

    @precondition(lambda self: self.world.workers)
    @rule(who=index)
    def freeze(self, who: int) -> None:
        workers = self.world.workers
        workers[who % len(workers)].is_frozen = True
        if len(workers) < _MOST_WORKERS:
            self.world.hire()

    @rule()
    def wake(self) -> None:
        for worker in self.world.workers:
            worker.is_frozen = False

    @rule(ms=st.sampled_from([100, 1000, 5000, 15_000]))
    def expire(self, ms: int) -> None:
        self.world.pass_time(ms)

    @rule(place=st.sampled_from(PLACES), fault=st.sampled_from(FAULTS))
    def fail(self, place: str, fault: Fault) -> None:
        self.world.weather.arm(place, fault)

    @rule(who=index)
    def reconcile(self, who: int) -> None:
        guardian = self.world.guardians[who % len(self.world.guardians)]
        if guardian.is_idle:
            self.world.look(guardian)

    @rule(name=st.sampled_from(COMMANDS), at=index)
    def command(self, name: str, at: int) -> None:
        self.world.operators.command(name, f"r{at % self.runs}", at)

    @rule(at=index)
    def kill_operator(self, at: int) -> None:
        if clients := [c for c in self.world.operators.clients if c.is_alive]:
            self.world.kill(clients[at % len(clients)], "owner")

    @rule()
    def deploy(self) -> None:
        self.world.version = "2"
        for worker in self.world.workers[:1]:
            if not worker.is_stopping:
                self.world.stop(worker)
        self.world.hire()

    @rule()
    def remember(self) -> None:
        self.world.keep_snapshot()

    @rule(at=index)
    def lose_a_commit(self, at: int) -> None:
        self.world.lose_a_commit(at)

    @rule()
    def go_back(self) -> None:
        self.world.go_back()

    @rule(on=st.booleans())
    def burst(self, on: bool) -> None:
        self.world.set_burst(on)

    @rule(fate=st.sampled_from(["raise", "hand back", "exit", "save"]))
    def spoil(self, fate: str) -> None:
        self.world.fates.append(fate)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                if self.world.witness.first is None:
                    come_to_rest(self.world)
            finally:
                self.world.close()


Machine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=50,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestMachine = pytest.mark.timeout(300)(Machine.TestCase)
