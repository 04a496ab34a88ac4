"""One command on many runs: all that a query finds, at a bounded rate, with a summary of what came of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from milepost.checkpointing import MilepostError, Misconfigured, Unavailable

from .errors import Conflict
from .head import Head
from .lifecycle import Lifecycle
from .query import RunQuery
from .runs import RunStore
from .runs.registry import Note
from .transitions import ALLOWED, Command

_PAGE = 500
_EXAMPLES = 10


@dataclass(slots=True)
class Summary:
    """What became of a bulk command."""

    command: Command
    found: int = 0
    """Runs that the query found."""
    done: int = 0
    """Runs on which the command was done, or would be."""
    refused: Counter[str] = field(default_factory=Counter)
    """How many were refused, by the kind of error; one that has moved on meanwhile is a Conflict."""
    examples: list[str] = field(default_factory=list)
    """What the first refusals said."""
    run_ids: list[str] = field(default_factory=list)
    """The first thousand on which it was done."""
    dry_run: bool = False


class Bulk:
    """Does a command on every run that a query finds."""

    def __init__(self, runs: RunStore, lifecycle: Lifecycle) -> None:
        self._runs = runs
        self._lifecycle = lifecycle

    def apply(
        self,
        command: Command,
        query: RunQuery,
        *,
        arguments: dict[str, Any] | None = None,
        dry_run: bool = False,
        every_run: bool = False,
        rate_per_second: float | None = None,
        limit: int | None = None,
        watch: Callable[[Summary], object] = lambda summary: None,
        rest: Callable[[float], object] = time.sleep,
    ) -> Summary:
        """Do *command* on the runs that *query* finds and whose status allows it, youngest first.

        Dying in it leaves some done and others not; doing it again does the rest where the command gives a
        run a status that the query does not mean. A run that has moved on since it was found is left alone,
        and one refusal keeps no other run from it.

        Args:
            arguments: Of the command: ``{"stage": "load"}`` of a rewind.
            dry_run: Only count.
            every_run: Say that a query without conditions is meant.
            rate_per_second: Do it so often at most.
            limit: Do it on so many runs at most.
            watch: Told of the summary after each run.
            rest: Waits so many seconds before a run, for the rate's sake. What it raises ends the command, as
                what *watch* raises does.

        Raises:
            Misconfigured: The query means every run, and *every_run* does not say so.
            Unavailable: A store does not answer.
        """
        if query.is_everything and not (every_run or dry_run):
            raise Misconfigured(
                f"The query has no condition: {command} would meet every run. Narrow it, or say that every "
                "run is meant."
            )
        do = getattr(self._lifecycle, command.replace("-", "_"))
        summary = Summary(command, dry_run=dry_run)
        if not dry_run:
            self._runs.note(Note("", self._lifecycle.by, f"bulk {command}", str(query)[:1000]))
        next_at = time.monotonic()
        for head in self._found(command, query):
            if limit is not None and summary.done >= limit:
                break
            summary.found += 1
            if not dry_run:
                if rate_per_second:
                    rest(max(0.0, next_at - time.monotonic()))
                    next_at = max(next_at, time.monotonic() - 1) + 1 / rate_per_second
                try:
                    self._check(head, query)
                    do(head.run_id, **(arguments or {}))
                except Unavailable:
                    raise
                except MilepostError as error:
                    summary.refused[type(error).__name__] += 1
                    if len(summary.examples) < _EXAMPLES:
                        summary.examples.append(str(error))
                    watch(summary)
                    continue
            summary.done += 1
            if len(summary.run_ids) < 1_000:
                summary.run_ids.append(head.run_id)
            watch(summary)
        return summary

    def _check(self, listed: Head, query: RunQuery) -> None:
        """Leave alone what has moved on since it was listed, which may be long ago."""
        now = self._runs.get(listed.run_id)
        place = (listed.timeline, listed.sequence)
        if now is None or not query.matches(now) or (now.timeline, now.sequence) != place:
            raise Conflict(
                f"Run {listed.run_id} has moved on since it was found.", run_id=listed.run_id
            )

    def _found(self, command: Command, query: RunQuery) -> Iterator[Head]:
        cursor: str | None = None
        while True:
            page = self._runs.find(query, cursor=cursor, limit=_PAGE)
            yield from (head for head in page.items if head.status in ALLOWED[command])
            if (cursor := page.cursor) is None:
                return
