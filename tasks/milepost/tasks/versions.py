"""The versions of one pipeline, and where a run goes on that was started under another."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from milepost.checkpointing import Misconfigured

from .errors import StageGone, StagesReordered, VersionAhead
from .head import Head
from .stage import Stage

if TYPE_CHECKING:
    from .pipeline import Pipeline


def order(version: str) -> tuple[tuple[int, int | str], ...]:
    """Return what versions are compared by: their parts, numbers as numbers (``2`` < ``10`` < ``10.1``)."""
    parts = re.findall(r"[0-9]+|[A-Za-z]+", version)
    return tuple((1, int(part)) if part.isdigit() else (0, part) for part in parts)


@dataclass(frozen=True, slots=True)
class Place:
    """By whose code the step due is run, and by which stage of it."""

    pipeline: Pipeline
    stage: Stage
    head: Head
    """Its stage due is another if the one that was due is no more."""
    due: str
    """The stage due as the run store has it."""

    @property
    def changes(self) -> dict[str, str | int]:
        """What the commit has to change in the head, because the code is not that of the last one."""
        head, pipeline = self.head, self.pipeline
        if (head.version, head.fingerprint) == (pipeline.version, pipeline.fingerprint):
            return {}
        names = [*pipeline.stages]
        return {
            "version": pipeline.version,
            "fingerprint": pipeline.fingerprint,
            "plan": json.dumps(names),
            "stages_total": head.stages_done + len(names) - names.index(self.stage.name),
        }


class Versions:
    """What is defined in this process under one name; the highest version is what new runs are started with.

    A run of a version that is defined here goes on with it. A run of an older one goes on with the highest,
    stage by stage under their names; a run of a higher one is for other workers.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._known: dict[str, Pipeline] = {}

    def add(self, pipeline: Pipeline) -> None:
        """Take in a version.

        Raises:
            Misconfigured: It is defined already.
        """
        if pipeline.version in self._known:
            raise Misconfigured(
                f"Version {pipeline.version} of pipeline {self.name} is defined already."
            )
        self._known[pipeline.version] = pipeline

    @property
    def current(self) -> Pipeline:
        """The highest version."""
        return max(self._known.values(), key=lambda pipeline: order(pipeline.version))

    @property
    def known(self) -> list[Pipeline]:
        """All versions that are defined."""
        return [*self._known.values()]

    def of(self, version: str) -> Pipeline:
        """Return that version, else the highest."""
        return self._known.get(version) or self.current

    def going_on(self, run_id: str, version: str) -> Pipeline:
        """Return the code for a run of *version*: that version, else the highest unless it is lower.

        Raises:
            VersionAhead: It is.
        """
        pipeline = self.of(version)
        if pipeline.version != version and order(version) > order(pipeline.version):
            raise VersionAhead(
                f"Run {run_id} is of version {version} of pipeline {self.name}; the code here is of "
                f"version {pipeline.version}. It is for those that have {version}.",
                run_id=run_id,
            )
        return pipeline

    def place(self, head: Head) -> Place:
        """Find the code for the step due.

        Raises:
            VersionAhead: It is not here, but with newer workers.
            StageGone: No stage here is the one due.
            StagesReordered: A stage would be run twice, or never.
        """
        pipeline = self.going_on(head.run_id, head.version)
        stage = pipeline.stages.get(head.stage)
        if stage is not None and head.fingerprint in (pipeline.fingerprint, ""):
            return Place(pipeline, stage, head, head.stage)
        name = pipeline.due_now(head.stage)
        if name is None:
            raise StageGone(
                f"Stage {head.stage} is due in run {head.run_id} of pipeline {self.name} {head.version}; "
                f"version {pipeline.version} has {', '.join(pipeline.stages)}. Say which stage it has become "
                f"(formerly=['{head.stage}']) or what comes instead (removed('{head.stage}', then=…)), "
                "then resume the run.",
                run_id=head.run_id,
            )
        _check_order(head, pipeline, name)
        due = head.stage
        if due in pipeline.instead:
            head = replace(head, stage=name)
        return Place(pipeline, pipeline.stages[name], head, due)


def _check_order(head: Head, pipeline: Pipeline, due: str) -> None:
    """See that each stage is run once, by what was planned when the run was last committed."""
    plan: list[str] = json.loads(head.plan) if head.plan else []
    if head.stage not in plan:
        return
    at, names = plan.index(head.stage), [*pipeline.stages]
    here = names.index(due)
    done = {pipeline.name_now(name) for name in plan[:at]}
    left = {pipeline.name_now(name) for name in plan[at + 1 :]}
    again = [name for name in names[here:] if name in done]
    never = [name for name in names[:here] if name in left]
    if again or never:
        what = f"{', '.join(again)} twice" if again else f"{', '.join(never)} never"
        raise StagesReordered(
            f"Run {head.run_id} is due at stage {due}; in the order that pipeline {pipeline.name} "
            f"{pipeline.version} has now it would run {what}. Keep the old version beside the new one for "
            "its runs, or restore the order, then resume the run.",
            run_id=head.run_id,
        )
