"""A schedule drawn from a seed: what happens, in which order, until all faults stop."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import cast

from milepost.tasks.runs import Cause

from .calm import come_to_rest
from .operators import COMMANDS
from .process import SimulatedProcess
from .weather import FAULTS, PLACES
from .world import Setup, World

_FATES = ("raise", "hand back", "exit", "save", "cost", "finish")
_MOST_WORKERS = 3
_NEEDS = (
    ("thaw", "freeze"),
    ("mend", "cut"),
    ("remember", "go back"),
    ("go back", "lose a commit"),
    ("remember", "lose a commit"),
)
"""What is of no use without the other."""


class Schedule:
    """Replays exactly: the same seed, the same code, the same world.

    What may happen is drawn first, so that some worlds know only kills, some only operators, and a few all.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._random = draw = random.Random(seed)
        setup = Setup(
            log_in_runs=draw.random() < 0.4,
            queue_in_runs=draw.random() < 0.4,
            burst=draw.random() < 0.4,
            keep=draw.choice((None, None, None, 1, 2)),
            retention_seconds=draw.choice((7 * 86400.0, 7 * 86400.0, 30.0)),
        )
        self.world = World(setup)
        self._events = draw.randrange(60, 260)
        self._runs = [f"r{number}" for number in range(draw.randint(1, 3))]
        actions: dict[str, tuple[float, Callable[[], None]]] = {
            "step": (30, self._step),
            "run on": (8, self._run_on),
            "deliver": (10, self._deliver),
            "pass time": (5, self._pass_time),
            "look": (4, self._look),
        }
        faults: dict[str, tuple[float, Callable[[], None]]] = {
            "kill": (2.5, self._kill),
            "bury": (2, self._bury),
            "freeze": (1.5, self._freeze),
            "thaw": (1.2, self._thaw),
            "stop": (0.7, self._stop),
            "drop": (1, self._drop),
            "repeat": (1, self._repeat),
            "arm": (3, self._arm),
            "cut": (1, self._cut),
            "mend": (1.2, self._mend),
            "spoil": (1.5, self._spoil),
            "beat": (1.5, self._beat),
            "command": (2, self._command),
            "start again": (0.5, self._start),
            "kill anybody": (0.7, self._kill_anybody),
            "deploy": (0.3, self._deploy),
            "remember": (0.6, self.world.keep_snapshot),
            "lose a commit": (0.6, self._lose),
            "go back": (0.5, self._go_back),
            "jump": (0.2, self._jump),
        }
        part = draw.choice((0.3, 0.6, 1.0))
        chosen = {name: what for name, what in faults.items() if draw.random() < part}
        for needed, wanted in _NEEDS:
            if wanted in chosen:
                chosen[needed] = faults[needed]
        actions |= chosen
        self._names = list(actions)
        self._weights = [weight for weight, _ in actions.values()]
        self._do = {name: what for name, (_, what) in actions.items()}
        self.told: list[str] = []
        """What happened, for whoever has to understand it."""

    def run(self) -> World:
        """Let it happen, and judge how it ends.

        Raises:
            Broken: An invariant does not hold.
        """
        state = random.getstate()
        random.seed(self.seed)
        world, draw = self.world, self._random
        try:
            for _ in range(draw.randint(1, _MOST_WORKERS)):
                world.hire(skew_seconds=draw.choice((0.0, 0.0, 3600.0)))
            for number, run_id in enumerate(self._runs):
                world.operators.start(run_id, number)
                self._run_on()
            for name in draw.choices(self._names, self._weights, k=self._events):
                self._do[name]()
                self.told.append(name)
                if world.activities and draw.random() < 0.5:
                    self._step()
            come_to_rest(world, resume=draw.random() < 0.7)
        finally:
            world.close()
            random.setstate(state)
        return world

    def _step(self) -> None:
        if ready := self.world.ready():
            activity = self._random.choice(ready)
            for _ in range(self._random.choice((1, 1, 2, 5))):
                if activity.is_ready and activity.process.is_alive:
                    self.world.step(activity)

    def _run_on(self) -> None:
        if ready := self.world.ready():
            self.world.finish(self._random.choice(ready))

    def _deliver(self) -> None:
        idle = [worker for worker in self.world.workers if worker.is_idle]
        if idle and self.world.queue.messages:
            self.world.deliver(self._random.randrange(1000), self._random.choice(idle))

    def _pass_time(self) -> None:
        self.world.pass_time(self._random.choice((50, 300, 1000, 1000, 3000, 12_000)))

    def _look(self) -> None:
        guardian = self._random.choice(self.world.guardians)
        if guardian.is_idle:
            self.world.look(guardian)

    def _kill(self) -> None:
        world = self.world
        # Who is in the middle of something is the better victim.
        busy = [a.process for a in world.activities if a.process in world.workers]
        victims = busy if busy and self._random.random() < 0.8 else world.workers
        if victims:
            self._end(self._random.choice(victims))

    def _kill_anybody(self) -> None:
        world = self.world
        self._end(self._random.choice([*world.guardians, *world.operators.clients]))

    def _end(self, process: SimulatedProcess) -> None:
        world = self.world
        # A stage that is killed too often would rightly be set aside.
        crashes = max((head.crashes for head in world.heads().values()), default=0)
        cause = (
            "owner"
            if crashes >= world.settings.max_crashes - 1
            else self._random.choice(("child", "owner"))
        )
        world.kill(process, cast(Cause, cause))
        if process.runtime.owner_id is not None and self._random.random() < 0.3:
            world.corpses.pop()
        while len(world.workers) < 1:
            world.hire()

    def _bury(self) -> None:
        guardian = self._random.choice(self.world.guardians)
        if self.world.corpses and guardian.is_idle:
            self.world.bury(self._random.randrange(1000), guardian)

    def _freeze(self) -> None:
        awake = [worker for worker in self.world.workers if worker.may_act]
        if awake:
            self._random.choice(awake).is_frozen = True
            self.world.counts["processes frozen"] += 1
        if len(awake) <= 1 and len(self.world.workers) < _MOST_WORKERS:
            self.world.hire()

    def _thaw(self) -> None:
        frozen = [worker for worker in self.world.workers if worker.is_frozen]
        if frozen:
            self._random.choice(frozen).is_frozen = False

    def _stop(self) -> None:
        staying = [worker for worker in self.world.workers if not worker.is_stopping]
        if staying:
            self.world.stop(self._random.choice(staying))
            self.world.hire()

    def _drop(self) -> None:
        messages = self.world.queue.messages
        if messages:
            messages.pop(self._random.randrange(len(messages)))
            self.world.counts["messages dropped"] += 1

    def _repeat(self) -> None:
        messages = self.world.queue.messages
        if messages:
            messages.append(self._random.choice(messages))
            self.world.counts["messages repeated"] += 1

    def _arm(self) -> None:
        draw = self._random
        self.world.weather.arm(draw.choice(PLACES), draw.choice(FAULTS), draw.choice((1, 1, 1, 4)))

    def _cut(self) -> None:
        draw, place = self._random, self._random.choice(PLACES)
        if self.world.workers and draw.random() < 0.7:
            draw.choice(self.world.workers).cut.add(place)
        else:
            self.world.weather.away.add(place)

    def _mend(self) -> None:
        self.world.weather.away.clear()
        for worker in self.world.workers:
            if self._random.random() < 0.7:
                worker.cut.clear()

    def _spoil(self) -> None:
        self.world.fates.append(self._random.choice(_FATES))

    def _beat(self) -> None:
        beating = [w for w in self.world.workers if w.may_act and w.next_beat_ms is not None]
        if beating:
            self.world.beat(self._random.choice(beating))

    def _command(self) -> None:
        draw = self._random
        self.world.operators.command(
            draw.choice(COMMANDS), draw.choice(self._runs), draw.randrange(10)
        )

    def _start(self) -> None:
        number = self._random.randrange(len(self._runs))
        self.world.operators.start(self._runs[number], number)

    def _deploy(self) -> None:
        self.world.version = "2"
        self.world.counts["deploys"] += 1
        old = [w for w in self.world.workers if w.code.version == "1" and not w.is_stopping]
        if old:
            self.world.stop(self._random.choice(old))
        self.world.hire()
        if self._random.random() < 0.5:
            guardian = self._random.choice(self.world.guardians)
            self.world.kill(guardian, "leaving")

    def _lose(self) -> None:
        self.world.lose_a_commit(self._random.randrange(10))

    def _go_back(self) -> None:
        if self._random.random() < 0.5:
            self.world.go_back()

    def _jump(self) -> None:
        self.world.clock.store_offset_ms += self._random.choice((-3000, 5000, 60_000))
        self.world.counts["store's clock jumped"] += 1
