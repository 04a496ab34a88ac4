"""People and programs that start runs and command them, and what they were answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from milepost.checkpointing import MilepostError, NotFound, Unavailable
from milepost.tasks import RunStatus
from milepost.tasks.errors import Conflict, UnknownPipeline, UnknownRun
from milepost.tasks.order import ordered

from .activity import Activity, Dead
from .code import PLANS

if TYPE_CHECKING:
    from .process import SimulatedProcess
    from .snapshot import Snapshot
    from .world import World

COMMANDS = ("cancel", "pause", "resume", "retry", "rewind", "skip", "edit", "delete")
_REFUSALS = (Conflict, UnknownRun, Unavailable)


@dataclass(eq=False)
class Command:
    """Something that was asked for."""

    name: str
    run_id: str
    begun: int
    note: str = ""
    ended: int = 0
    was_done: bool = False
    """Whether it returned well, and no store has forgotten that since."""
    changes: dict[str, Any] = field(default_factory=dict)


class Operators:
    """At most a few at a time; each is a process that can die in the middle of what it does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.clients: list[SimulatedProcess] = [world.born("1", "client") for _ in range(2)]
        self.commands: list[Command] = []
        self.started: dict[str, int] = {}
        """Runs whose start has returned, and the number they were started with."""
        self._asked: dict[Activity, Command] = {}

    def idle(self) -> list[SimulatedProcess]:
        """Return who could ask for something; who died is replaced."""
        for place, client in enumerate(self.clients):
            if not client.is_alive or client.code.version != self._world.version:
                if client.is_alive and not client.is_idle:
                    continue
                self.clients[place] = self._world.born(self._world.version, "client")
        return [client for client in self.clients if client.is_idle]

    def start(self, run_id: str, number: int) -> Activity | None:
        """Start a run; the same id and number again is the same run."""

        def work(client: SimulatedProcess) -> None:
            pipeline = client.code.pipeline
            order = ordered(pipeline, {"trail": [], "receipts": {}, "n": number}, run_id, {})
            client.runtime.lifecycle.start(pipeline, order)

        return self._ask("start", run_id, work, choice=number)

    def command(self, name: str, run_id: str, choice: int = 0) -> Activity | None:
        """Command a run; *choice* says where to, of what has to be chosen."""
        by = f"op{len(self.commands)}"

        def work(client: SimulatedProcess) -> None:
            lifecycle = client.runtime.lifecycle.on_behalf_of(by)
            if name == "rewind":
                plan = PLANS[client.code.version]
                lifecycle.rewind(run_id, plan[choice % len(plan)])
            elif name == "edit":
                lifecycle.edit(run_id, patch={"edit": by})
            else:
                getattr(lifecycle, name)(run_id)

        return self._ask(name, run_id, work, by)

    def rebuild(self) -> Activity | None:
        """Make heads anew from the log, where the run store has lost them."""
        return self._ask("recover", "", lambda client: [*client.runtime.rebuilder.rebuild()])

    def judge(self, activity: Activity, outcome: BaseException) -> None:
        """Take a refusal for an answer, and nothing else."""
        command = self._asked.get(activity)
        if isinstance(outcome, _REFUSALS):
            return
        if command is not None and isinstance(outcome, NotFound | UnknownPipeline):
            # The checkpoint is gone that it would go on from, or the stage is none of the version's.
            self._world.counts[f"{command.name}: {type(outcome).__name__}"] += 1
            return
        if isinstance(outcome, MilepostError) and command is not None:
            self._world.counts[f"{command.name}: {type(outcome).__name__}"] += 1
        raise outcome

    def went_back(self, snapshot: Snapshot) -> None:
        """Forget what no store knows any more."""
        order = snapshot.order
        for command in self.commands:
            # What was on its way then may have been half done.
            if command.ended > order or not command.ended:
                command.was_done = False
                command.begun = -1
        if self._world.log_in_runs:
            for run_id in [r for r in self.started if r not in snapshot.run_ids]:
                del self.started[run_id]

    def may_be_gone(self, run_id: str) -> bool:
        """Whether somebody has begun to delete the run, so that its log may be gone before its head."""
        return any(c.name == "delete" and c.run_id == run_id for c in self.commands)

    def forget(self, run_id: str) -> None:
        """Know nothing more of a run: it was deleted."""
        self.started.pop(run_id, None)

    def _is_being_deleted(self, start: Command) -> bool:
        """Whether somebody deletes, or may delete, the run that this start made or found."""
        deletes = (c for c in self.commands if c.name == "delete" and c.run_id == start.run_id)
        return any(not c.ended or c.ended >= start.begun for c in deletes)

    def _ask(
        self,
        name: str,
        run_id: str,
        work: Callable[[SimulatedProcess], Any],
        by: str = "",
        choice: int = 0,
    ) -> Activity | None:
        idle = self.idle()
        if not idle:
            return None
        client, world = idle[0], self._world
        command = Command(name, run_id, world.witness.order, by)
        self.commands.append(command)

        def ask() -> None:
            if name == "delete":
                # Whatever comes of it, the run may be gone from here on.
                self.forget(run_id)
            work(client)
            if name == "start" and not self._is_being_deleted(command):
                self.started[run_id] = choice
            command.ended = world.witness.order
            command.was_done = command.begun >= 0

        activity = world.begin(client, name, partial(ask))
        self._asked[activity] = command
        world.counts[f"commands: {name}"] += 1
        return activity


__all__ = ["COMMANDS", "Command", "Dead", "Operators", "RunStatus"]
