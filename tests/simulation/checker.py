"""The one judge of a world in which all has come to rest; the numbers are those of the fault tests."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from milepost.checkpointing import Status
from milepost.tasks import RunStatus
from milepost.tasks.head import Head

from .code import FORMERLY, PAYING, PLANS, expected
from .facts import Place, Written

if TYPE_CHECKING:
    from .world import World

_ENDED = (RunStatus.COMPLETED, RunStatus.CANCELLED, RunStatus.FAILED)
_REDIRECTS = {"rewind": "rewound", "skip": "skipped", "edit": "edited"}


class Checker:
    """Judges a world at rest. What must not be at any time, the witness has seen to already.

    I9, no secret anywhere, is for tests with real logs and messages.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._witness = world.witness
        self._heads = world.heads()

    def judge(self) -> None:
        """Raise `Broken` for the first invariant that does not hold."""
        for run_id, number in self._world.operators.started.items():
            head = self._heads.get(run_id)
            if head is not None:
                self._at_rest(head)
                self._path(head, number)
            elif self._world.setup.retention_seconds > 3600:
                raise self._witness.broken("I1", f"{run_id} was started, and is not there")
        self._commands()
        self._nothing_left()

    def _at_rest(self, head: Head) -> None:
        """I1: every run has ended, or somebody has paused it."""
        if head.status is RunStatus.PAUSED:
            asked = {c.name for c in self._world.operators.commands if c.run_id == head.run_id}
            if "pause" not in asked:
                raise self._witness.broken("I1", f"nobody paused {head.run_id}: {head.error}")
        elif head.status not in _ENDED:
            raise self._witness.broken("I1", f"{head.run_id} is {head.status} for ever")
        elif head.status is RunStatus.FAILED and not self._witness.dead_letters:
            raise self._witness.broken("I1", f"{head.run_id} has failed: {head.error}")

    def _path(self, head: Head, number: int) -> None:
        """I2, I3, I5: the head's path is a chain of what the stages make of what was before."""
        records = self._witness.records
        path: list[Written] = []
        step: str | None = head.checkpoint_id
        while step is not None:
            if step not in records:
                raise self._witness.broken("I2", f"checkpoint {step} of {head.run_id} never was")
            path.insert(0, records[step])
            step = records[step].metadata.parent
        first = path[0]
        if first.state != {"trail": [], "receipts": {}, "n": number}:
            raise self._witness.broken("I3", f"{head.run_id} began with {first.state}")
        for before, after in pairwise(path):
            self._link(before, after)
        if head.status is RunStatus.COMPLETED:
            self._complete(head, path)

    def _link(self, before: Written, after: Written) -> None:
        old, new = before.metadata, after.metadata
        where = f"{new.run_id} {new.timeline}/{new.sequence}"
        if new.sequence <= old.sequence or new.timeline < old.timeline:
            raise self._witness.broken("I2", f"{where} comes after {old.timeline}/{old.sequence}")
        if new.token < old.token:
            raise self._witness.broken("I5", f"{where} has token {new.token}, before {old.token}")
        if new.note is not None or new.status is Status.CANCELLED:
            by = (new.note or "").removeprefix("edited by ")
            if new.note and new.note.startswith("edited") and after.state.get("edit") != by:
                raise self._witness.broken("I3", f"{where} was edited, and has {after.state}")
            if new.status is Status.CANCELLED and after.state is None and self._amnesia():
                return
            if {**before.state, "edit": None} != {**after.state, "edit": None}:
                raise self._witness.broken("I3", f"{where} changed the state on its way")
            return
        if new.sequence != old.sequence + 1:
            raise self._witness.broken("I2", f"{where} comes after {old.sequence}")
        stage = new.stage or ""
        receipt: int | None = None
        if stage in PAYING:
            receipt = after.state["receipts"].get(stage)
        if after.state != expected(stage, before.state, receipt):
            raise self._witness.broken(
                "I3", f"{where}: {stage} made {after.state} of {before.state}"
            )
        place = Place(old.checkpoint_id, FORMERLY.get(stage, stage))
        if not any(e.place == place for e in self._witness.executions) and not self._amnesia():
            raise self._witness.broken("I4", f"{where}: nobody ran {stage}")

    def _complete(self, head: Head, path: list[Written]) -> None:
        """I3: every stage was run, once, in the order of the pipeline, but for what was skipped."""
        skipped = any((w.metadata.note or "").find("skipped") >= 0 for w in path)
        trail: list[Any] = [FORMERLY.get(name, name) for name in path[-1].state["trail"]]
        plans = [[FORMERLY.get(name, name) for name in plan] for plan in PLANS.values()]
        if trail in plans:
            return
        in_order = any([n for n in plan if n in trail] == trail for plan in plans)
        if not in_order or not skipped:
            raise self._witness.broken("I3", f"{head.run_id} completed with {trail}")

    def _commands(self) -> None:
        """What was answered with yes was done: a redirect is on record, a cancelled run has ended."""
        for command in self._world.operators.commands:
            if not command.was_done:
                continue
            run = [c for c in self._world.operators.commands if c.run_id == command.run_id]
            if command.name in _REDIRECTS and not any(c.name == "delete" for c in run):
                by = f"by {command.note}"
                notes = (w.metadata.note or "" for w in self._witness.records.values())
                if not any(note.endswith(by) for note in notes):
                    raise self._witness.broken("I8", f"{command} was said to be done")
            later = {c.name for c in run if (c is not command and c.ended != 0) or not c.was_done}
            undone = later & {"rewind", "delete", "start"}
            head = self._heads.get(command.run_id)
            cancelled = head is None or head.status is RunStatus.CANCELLED
            if command.name == "cancel" and not undone and not cancelled:
                raise self._witness.broken("I8", f"{command} was done, and it is {head}")

    def _nothing_left(self) -> None:
        """I7: no claim, no trial, no message, nothing due but the end of what has ended."""
        book: Any = self._world.runs._book
        for head in self._heads.values():
            if head.nonce or head.owner or head.intent:
                raise self._witness.broken("I7", f"{head.run_id} is still held: {head}")
            due = book.due_at(head.run_id)
            if due is not None and head.status not in (RunStatus.COMPLETED, RunStatus.CANCELLED):
                raise self._witness.broken("I7", f"{head.run_id} is {head.status}, and due")
        if trials := [run for run in book._trials.values() if run]:
            raise self._witness.broken("I7", f"still on trial: {trials}")
        if self._world.queue.messages:
            raise self._witness.broken("I7", f"still queued: {self._world.queue.messages}")
        held = {owner: runs for owner, runs in book._held.items() if owner and runs}
        if held:
            raise self._witness.broken("I7", f"still held: {held}")
        living = {worker.runtime.owner_id for worker in self._world.workers}
        if gone := book.owners().keys() - living:
            raise self._witness.broken("I7", f"owners that are gone: {gone}")

    def _amnesia(self) -> bool:
        return self._witness.travelled
