"""Watches every change of a head and every record, and says at once what must not be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from milepost.checkpointing import Kind, NotFound, Record
from milepost.tasks import RunStatus
from milepost.tasks.head import Head, Step
from milepost.tasks.runs import Claim

from .code import FORMERLY
from .facts import Facts, Given, Place, Written

if TYPE_CHECKING:
    from .process import SimulatedProcess
    from .world import World

_ENDED = (RunStatus.COMPLETED, RunStatus.CANCELLED)
_UNDER_WAY = (RunStatus.REDIRECTING, RunStatus.DELETING)
_SILENT = frozenset({"get", "get_many", "find", "now", "note", "notes", "kept", "counts"})


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True, slots=True)
class Execution:
    """A stage's body that was begun."""

    run_id: str
    place: Place
    claim: Given
    process: str


class Witness:
    """Keeps what happened, in its order; the numbers are those of the fault tests' invariants."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.facts = Facts()
        """What a store that goes back takes along."""
        self.executions: list[Execution] = []
        self.records: dict[str, Written] = {}
        """All commits that ever were, by checkpoint id."""
        self.dead_letters = 0
        self.order = 0
        self.travelled = False
        self.first: Broken | None = None
        self.story: list[str] = []
        """What changed, in words."""

    def broken(self, number: str, what: str) -> Broken:
        """Return the error of an invariant that does not hold; the first is kept, whoever catches it."""
        error = Broken(f"{number}: {what}")
        self.first = self.first or error
        return error

    def see(
        self,
        process: SimulatedProcess,
        name: str,
        store: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Make a call of the run store and look at what it changed."""
        method = getattr(store, name)
        if name in _SILENT:
            return method(*args, **kwargs)
        before, owners = self._world.heads(), self._world.owners()
        result = method(*args, **kwargs)
        self.order += 1
        now = self._world.heads()
        for run_id in now.keys() | before.keys():
            was, after = before.get(run_id), now.get(run_id)
            if was is not after:
                self._tell(process, name, was, after)
                self._changed(process, name, args, run_id, was, after)
                if name == "bury" and was and after and not owners[args[0]].leaving:
                    self._blamed(args[1], was, after)
        if name in ("claim", "advance") and isinstance(result, Claim):
            process.claimed[result.head.run_id] = result.nonce
        return result

    def _tell(
        self, process: SimulatedProcess, name: str, before: Head | None, after: Head | None
    ) -> None:
        head = after or before
        assert head is not None
        if after is None:
            self.story.append(f"{self.order}: {process} {name}: {head.run_id} is gone")
            return
        where = f"{head.timeline}/{head.sequence} {head.stage or '-'} {head.status}"
        held = f" held by {head.worker} with {head.token}" if head.nonce else ""
        self.story.append(f"{self.order}: {process} {name}: {head.run_id} {where}{held}")

    def ran(self, process: SimulatedProcess, run_id: str, stage: str) -> Given:
        """Note that a stage's body begins; I3 and I4: nothing that was committed is done again."""
        given = self.facts.claims.get(process.claimed[run_id])
        if given is None:
            # The store went back behind the claim, whose holder does not know yet.
            given = Given(self.order, run_id, "", 0, 0, 0, process.name)
        place = Place(given.checkpoint_id, FORMERLY.get(stage, stage))
        self.story.append(f"{self.order}: {process} runs {stage} of {run_id}, {given}")
        self.executions.append(Execution(run_id, place, given, process.name))
        if not given.checkpoint_id:
            return given
        done = self.facts.committed.get(place)
        if done is not None and done < given.order:
            raise self.broken("I4", f"stage {stage} of {run_id} was committed, and runs again")
        stands, was, due = self.facts.written.get(
            (*place, given.timeline), (self.order, stage, None)
        )
        following = process.code.pipeline.following(stage)
        # What the code here would not have written is not adopted: see `RunLog.adoptable`.
        would = (stage, following and following.name)
        same = (process.code.names(was), process.code.names(due)) == would
        if stands < given.order and same:
            raise self.broken("I4", f"stage {stage} of {run_id} was written, and runs again")
        return given

    def paid(self, process: SimulatedProcess, run_id: str, stage: str) -> int:
        """Note that something is done that is to be done once; I4: its result was not kept yet."""
        given = self.facts.claims.get(process.claimed[run_id])
        self._world.paid += 1
        if given is not None:
            kept = self.facts.kept.get(Place(given.checkpoint_id, FORMERLY.get(stage, stage)))
            if kept is not None and kept < given.order:
                raise self.broken("I4", f"the effect of {stage} of {run_id} is done again")
        return self._world.paid

    def published(self, step: Step) -> None:
        """See that no message is there before its head is (I2)."""
        head = self._world.runs.get(step.run_id)
        ahead = head is not None and (step.timeline, step.sequence) > (head.timeline, head.sequence)
        if ahead and not self.travelled:
            raise self.broken("I2", f"a message names {step}, and the head is at {head}")

    def about_to_put(self, process: SimulatedProcess, record: Record) -> None:
        """See that who may have lost its claims writes no commit (I5).

        By the time that has passed, whatever the process takes it for.
        """
        by = self._world.serializer.metadata(record.key, record.header).worker
        silent = self._world.clock.ms - (process.heard_ms or self._world.clock.ms)
        may_be_lost = silent > self._world.settings.heartbeat_lapse_seconds * 1000
        if by and record.key.kind in (Kind.COMMIT, Kind.JOURNAL) and may_be_lost:
            raise self.broken("I5", f"{process} was silent for too long, and writes {record.key}")

    def put(self, record: Record) -> None:
        """Note a record that the log has taken; I2: a number is written once."""
        self.order += 1
        key = (record.key.run_id, record.key.path)
        stands = self.facts.log.get(key)
        if stands is not None and stands != (record.header, record.body):
            raise self.broken("I2", f"{key} was written twice")
        if stands is not None:
            return
        self.story.append(f"{self.order}: {key} was written")
        self.facts.log[key] = (record.header, bytes(record.body))
        if record.key.kind not in (Kind.COMMIT, Kind.JOURNAL):
            return
        checkpoint = self._world.serializer.decode(record)
        metadata = checkpoint.metadata
        place = Place(
            metadata.parent or "", FORMERLY.get(metadata.stage or "", metadata.stage or "")
        )
        if record.key.kind is Kind.JOURNAL:
            self.facts.kept[place] = self.order
            self.facts.journal[key] = place
            return
        self.records[metadata.checkpoint_id] = Written(metadata, checkpoint.state)
        if metadata.note is None and place.stage and place.checkpoint_id:
            written = (self.order, metadata.stage or "", metadata.next_stage)
            self.facts.written[(*place, metadata.timeline)] = written
            self.facts.commits[key] = (*place, metadata.timeline)

    def removed(self, run_id: str, path: str | None = None) -> None:
        """Note that a record, or all of a run's, is gone."""
        for key in [k for k in self.facts.log if k[0] == run_id and path in (None, k[1])]:
            del self.facts.log[key]
            if (place := self.facts.journal.pop(key, None)) is not None:
                self.facts.kept.pop(place, None)
            if (commit := self.facts.commits.pop(key, None)) is not None:
                self.facts.written.pop(commit, None)

    def _changed(
        self,
        process: SimulatedProcess,
        name: str,
        args: tuple[Any, ...],
        run_id: str,
        before: Head | None,
        after: Head | None,
    ) -> None:
        if after is None:
            assert before is not None
            if name != "delete" and before.status not in _ENDED:
                raise self.broken("I1", f"{run_id} is gone; it was {before.status}")
            self.facts.deaths.pop(run_id, None)
            self.facts.tokens.pop(run_id, None)
            return
        if before is None:
            if name not in ("create", "reinstate"):
                raise self.broken("I1", f"{run_id} came out of {name}")
            self._landed(after)
            return
        if after.nonce and after.nonce != before.nonce:
            self._claimed(process, name, before, after)
        if after.checkpoint_id != before.checkpoint_id:
            self._moved(name, args, before, after)
        elif before.timeline == after.timeline and not after.nonce:
            self._counted(name, before, after)
        if before.status in _ENDED and after.status not in (*_ENDED, *_UNDER_WAY):
            raise self.broken("I6", f"{run_id} was {before.status}, and is {after.status}")
        if after.status is RunStatus.FAILED and before.status is not RunStatus.FAILED:
            self._died(name, before, after)

    def _claimed(self, process: SimulatedProcess, name: str, before: Head, after: Head) -> None:
        moved = after.checkpoint_id != before.checkpoint_id
        if name not in ("claim", "advance") or (before.nonce and not moved):
            raise self.broken("I5", f"{after.run_id} is held by {before.worker}, and given away")
        newest = self.facts.tokens.get(after.run_id, 0)
        if after.token <= newest or after.token <= before.token:
            raise self.broken("I5", f"token {after.token} of {after.run_id} is not above {newest}")
        tried = 0 if moved else before.attempt
        if after.attempt != tried + 1:
            raise self.broken("I8", f"attempt {after.attempt} of {after.run_id} follows {tried}")
        self.facts.tokens[after.run_id] = after.token
        self.facts.claims[after.nonce] = Given(
            self.order,
            after.run_id,
            after.checkpoint_id,
            after.timeline,
            after.token,
            after.attempt,
            process.name,
        )

    def _moved(self, name: str, args: tuple[Any, ...], before: Head, after: Head) -> None:
        if name not in ("advance", "settle"):
            raise self.broken("I2", f"the head of {after.run_id} was moved by {name}")
        if after.sequence <= before.sequence:
            raise self.broken("I2", f"the head of {after.run_id} fell to {after.sequence}")
        written = self._landed(after)
        if name == "advance":
            claim: Claim = args[0]
            if (claim.nonce, claim.token) != (before.nonce, before.token):
                raise self.broken("I5", f"an old claim on {after.run_id} committed")
            skips = self.travelled and written.metadata.sequence > before.sequence + 1
            if written.metadata.parent != before.checkpoint_id and not skips:
                raise self.broken("I2", f"the head of {after.run_id} is no child of the one before")
            stage = written.metadata.stage or ""
            place = Place(before.checkpoint_id, FORMERLY.get(stage, stage))
            self.facts.committed[place] = self.order
        self.facts.deaths.pop(after.run_id, None)

    def _landed(self, head: Head) -> Written:
        written = self.records.get(head.checkpoint_id)
        if written is None or (head.run_id, head.at) not in self.facts.log:
            raise self.broken(
                "I2", f"the head of {head.run_id} names {head.at}, which is not there"
            )
        with_key = written.metadata.key.path
        if with_key != head.at:
            raise self.broken("I2", f"the head of {head.run_id} names {head.at}, not {with_key}")
        return written

    def _counted(self, name: str, before: Head, after: Head) -> None:
        """See that what befell a try is counted as what it was (I8)."""
        if name == "resume" or before.intent or after.intent:
            return
        tries = {before.attempt, before.attempt - (name == "put_off")}
        if after.attempt not in tries:
            raise self.broken("I8", f"{name} made attempt {after.attempt} of {before.attempt}")
        crashed = after.crashes - before.crashes
        suspected = after.suspicions - before.suspicions
        if crashed + suspected:
            self.facts.deaths[after.run_id] = self.facts.deaths.get(after.run_id, 0) + 1
        wrong = crashed + suspected not in (0, 1) or min(crashed, suspected) < 0
        if wrong or (crashed + suspected and name not in ("bury", "look")):
            raise self.broken("I8", f"{name} counted {crashed} crashes, {suspected} suspicions")
        if after.failures - before.failures != int(name == "fail" and bool(before.nonce)):
            raise self.broken("I8", f"{name} made {after.failures} failures of {before.failures}")

    def _blamed(self, cause: str, before: Head, after: Head) -> None:
        """See that a death that was seen is counted as what it was (I8)."""
        counted = (after.crashes - before.crashes, after.suspicions - before.suspicions)
        expected = {"child": (1, 0), "owner": (0, 1), "leaving": (0, 0)}[cause]
        if counted != expected:
            raise self.broken("I8", f"{after.run_id}: {cause} was counted as {counted}")

    def _died(self, name: str, before: Head, after: Head) -> None:
        """See that no run is set aside that has not used up its crashes (I1)."""
        if before.intent:
            return
        if name == "fail" and self._world.operators.may_be_gone(after.run_id):
            return
        times = self.facts.deaths.get(after.run_id, 0)
        self.dead_letters += 1
        if name not in ("bury", "look") or times < self._world.settings.max_crashes:
            raise self.broken(
                "I1", f"{after.run_id} is a dead letter after {times} deaths: {after.error}"
            )

    def whole(self, head: Head) -> bool:
        """Whether the head's checkpoint is still in the log."""
        try:
            self._world.log.get(head.key)
        except NotFound:
            return False
        return True
