"""Looking at single runs: what many clients ask at the same time is one question to the store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pydantic_core import to_json

from milepost.tasks import Head
from milepost.tasks.runs import RunStore

from .documents import RunDocument
from .etag import etag
from .identity import Call

_AT_ONCE = 2
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Glance:
    """A run as it stood, with its description."""

    head: Head
    tag: str
    body: bytes

    @classmethod
    def at(cls, head: Head) -> Glance:
        """Describe *head*."""
        body = to_json(RunDocument.of(head, traceback=True))
        return cls(head, etag(head, body), body)


class Glances:
    """Gathers what is asked for while the store is being asked, and asks for all of it at once.

    Each answer was read after its question came. A question costs a thread's turn and a round trip only where
    it is alone.
    """

    def __init__(self, runs: RunStore, call: Call) -> None:
        self._runs = runs
        self._call = call
        self._wanted: dict[str, asyncio.Future[Glance | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def at(self, run_id: str) -> Glance | None:
        """Return how a run stands; None: there is none."""
        answer = self._wanted.get(run_id)
        if answer is None:
            answer = self._wanted[run_id] = asyncio.get_running_loop().create_future()
            if len(self._tasks) < _AT_ONCE:
                task = asyncio.create_task(self._ask())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        # One who goes away takes the answer from nobody else.
        return await asyncio.shield(answer)

    async def _ask(self) -> None:
        while self._wanted:
            ids = [*self._wanted][:_BATCH]
            answers = [self._wanted.pop(run_id) for run_id in ids]
            try:
                found = await self._call(self._read, ids)
            except BaseException as error:
                for answer in answers:
                    answer.set_exception(error)
                    # Seen, even if all who asked have gone away.
                    answer.exception()
                if not isinstance(error, Exception):
                    raise
                continue
            for answer, glance in zip(answers, found, strict=True):
                answer.set_result(glance)

    def _read(self, run_ids: list[str]) -> list[Glance | None]:
        heads = self._runs.get_many(run_ids)
        return [None if head is None else Glance.at(head) for head in heads]
