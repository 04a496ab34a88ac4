"""The stores as they were at one time, to go back to."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from milepost.tasks.head import Head

if TYPE_CHECKING:
    from .world import World

_RUNS = ("_flows",)
_BOOK = ("heads", "_due", "_owners", "_trials", "last_look", "_last_created")


class Snapshot:
    """Of the run store and what lies in the same place: the log, the queue."""

    def __init__(self, world: World) -> None:
        book: Any = world.runs._book
        self._book = {name: copy(getattr(book, name)) for name in _BOOK}
        self._held = {owner: set(runs) for owner, runs in book._held.items()}
        self._runs = {name: copy(getattr(world.runs, name)) for name in _RUNS}
        self._log = {run: dict(records) for run, records in world.log._runs.items()}
        self._expiry = dict(world.log._expiry)
        self._messages = list(world.queue.messages)
        self.facts = world.witness.facts.copied()
        self.order = world.witness.order
        self.heads: dict[str, Head] = self._book["heads"]
        self.run_ids = frozenset(self.heads)

    def restore(self, world: World) -> None:
        """Let the stores be as they were."""
        book: Any = world.runs._book
        for name, value in self._book.items():
            setattr(book, name, copy(value))
        book._held.clear()
        book._held.update({owner: set(runs) for owner, runs in self._held.items()})
        for name, value in self._runs.items():
            setattr(world.runs, name, copy(value))
        if world.log_in_runs:
            world.log._runs = {run: dict(records) for run, records in self._log.items()}
            world.log._expiry = dict(self._expiry)
        if world.queue_in_runs:
            world.queue.messages = list(self._messages)
        witness = world.witness
        witness.facts = witness.facts.went_back(self.facts, log_too=world.log_in_runs)
        witness.travelled = True
