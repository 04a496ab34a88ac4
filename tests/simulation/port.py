"""One process's way to a store: each call is a step of the schedule, and may fail there or back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from milepost.checkpointing import CheckpointStore, Unavailable
from milepost.tasks.runs import Claim

from .activity import Dead, pause

if TYPE_CHECKING:
    from .process import SimulatedProcess
    from .world import World

_LOCAL = frozenset({"close", "location"})


class Port:
    """Passes calls on to `target`, which the subclass names."""

    kind: str
    target: Any

    def __init__(self, world: World, process: SimulatedProcess) -> None:
        self.world = world
        self.process = process

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(self.target, name)
        if not callable(found) or name in _LOCAL:
            return found
        bound = partial(self._call, name)
        setattr(self, name, bound)
        return bound

    def close(self) -> None:
        """Do nothing: the store is everybody's."""

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        world, process, kind = self.world, self.process, self.kind
        pause(f"{kind}.{name}")
        if not process.is_alive:
            raise Dead
        fault = world.weather.strikes(kind, process)
        if fault == "before":
            raise Unavailable(f"{kind}.{name} never arrived (simulated).")
        try:
            result = self._effect(name, args, kwargs)
            if fault == "twice":
                pause(f"again {kind}.{name}")
                result = self._effect(name, args, kwargs)
        finally:
            pause(f"after {kind}.{name}")
        if fault == "after":
            raise Unavailable(f"The reply to {kind}.{name} was lost (simulated).")
        return result

    def _effect(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return getattr(self.target, name)(*args, **kwargs)


class RunPort(Port):
    """To the run store; the witness sees what each call changes."""

    kind = "runs"

    def __init__(self, world: World, process: SimulatedProcess) -> None:
        super().__init__(world, process)
        self.target = world.runs

    def identity(self) -> str:
        """Return the name of the folder that nothing is put into."""
        return "simulation"

    def holds_log(self, log: CheckpointStore) -> bool:
        """Whether the world's log lies in the run store."""
        return self.world.log_in_runs

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        sent = self.world.clock.ms
        result = super()._call(name, *args, **kwargs)
        if name == "beat" or isinstance(result, Claim):
            self.process.heard_ms = max(sent, self.process.heard_ms or 0)
        return result

    def _effect(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.world.witness.see(self.process, name, self.target, args, kwargs)


class LogPort(Port):
    """To the log, where that is not in the run store; else to read it."""

    kind = "log"

    def __init__(self, world: World, process: SimulatedProcess) -> None:
        super().__init__(world, process)
        self.target = world.log
        if world.log_in_runs:
            self.kind = "runs"

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "put":
            self.world.witness.about_to_put(self.process, args[0])
        return super()._call(name, *args, **kwargs)
