"""What a stage can know about its run, and do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn, TypeVar

from milepost.checkpointing import Blob, BlobWriter, Misconfigured

from .duration import Duration
from .errors import ClaimLost, HandBack
from .progress import Progress

T = TypeVar("T")
Once = Callable[[str, Callable[[], Any]], Any]


def _no_blobs(_: Any) -> NoReturn:
    raise Misconfigured("There is no store for blobs here.")


def _no_checkpoints(state: Any, tags: Sequence[str]) -> NoReturn:
    raise Misconfigured("There is no store for checkpoints here.")


@dataclass(frozen=True, slots=True)
class Context:
    """The second argument of a stage."""

    run_id: str
    pipeline: str
    stage: str
    sequence: int
    """The number of the checkpoint the stage works on."""
    attempt: int
    """Which try this is, from 1; failures, crashes and hand-backs all begin another. When somebody retries
    a failed run, it begins at 1 again."""
    idempotency_key: str
    """The same for every try of this stage on this checkpoint, on whatever worker: pass it to
    services that recognise repeated requests."""
    log: logging.LoggerAdapter[logging.Logger]
    """A logger that knows run, stage and attempt."""
    _stopping: Callable[[], bool]
    _cancelled: Callable[[], bool]
    messages: list[Any] = field(default_factory=list)
    """The run's conversation so far; what is appended is committed with the stage."""
    tool_calls: list[Any] = field(default_factory=list)
    """The tool calls made so far; the same."""
    context: dict[str, Any] = field(default_factory=dict)
    """What else goes along with the run, such as who it is for; the same."""
    _progress: Progress = field(default_factory=Progress)
    _once: Once = lambda name, work: work()
    _cost: Callable[[Mapping[str, float]], None] = lambda amounts: None
    _write_blob: Callable[[str], BlobWriter] = _no_blobs
    _open_blob: Callable[[Blob], BinaryIO] = _no_blobs
    _checkpoint: Callable[[Any, Sequence[str]], str] = _no_checkpoints
    _afford: Callable[[Mapping[str, float]], None] = lambda planned: None

    @property
    def stopping(self) -> bool:
        """Whether the worker was told to stop: finish within its grace period, or `hand_back`."""
        return self._stopping()

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled or given to another worker, so that the result is refused.

        Learnt from the heartbeat, so up to a third of `heartbeat_lapse_seconds` late.
        """
        return self._cancelled()

    @property
    def progress(self) -> Any:
        """What an earlier try of this stage saved last, or this one; None if nothing."""
        return self._progress.value

    def save(self, progress: Any, *, every: Duration = 0) -> bool:
        """Keep *progress* for the next try of this stage, should this one not come to its end.

        It is written whole or not at all, only while this try holds the run, and dropped when the stage is
        committed. A store that is away is logged, and the stage goes on.

        Args:
            progress: JSON, or what `Milepost.types` knows.
            every: Do nothing if the last time was less than this ago.

        Returns:
            Whether it was due.

        Raises:
            ClaimLost: The run was cancelled, or given to another worker.
            NotSerializable: It cannot be kept.
        """
        return self._progress.save(progress, every)

    def track(
        self,
        items: Iterable[T],
        *,
        every: Duration = "5s",
        name: str = "items",
        value: Any = None,
    ) -> Iterator[T]:
        """Loop over *items*; after a crash, the next try goes on behind the last position saved.

        Up to *every* of the work is done again, so the loop's body must bear that. When the worker is told
        to stop, the position is saved and the stage handed back: another worker goes on with it.

        Args:
            items: The same in the same order at every try. A sequence is not read from its beginning.
            every: How often the position is saved, with what `progress` is then.
            name: Of the loop, if the stage has several.
            value: What the loop gathers, as a list, dict or model that it changes: saved with the position
                as it is then, and the next try's `progress`. The items that are skipped are not seen again.

        Raises:
            ClaimLost: The run was cancelled, or given to another worker.
        """

        is_leaving = False

        def leaving() -> bool:
            nonlocal is_leaving
            self.check()
            is_leaving = self.stopping
            return is_leaving

        for item in self._progress.track(
            items, every=every, name=name, value=value, leaving=leaving
        ):
            if is_leaving:
                self.hand_back()
            yield item

    def once(self, name: str, work: Callable[[], T]) -> T:
        """Call *work* and keep what it returns: every try of this stage gets the same, and calls it no more.

        For payments, mails and paid calls. Only a crash between the end of *work* and the write of its
        result lets it be called again; services that know idempotency keys should be given one.

        Args:
            name: Of the effect, different for each within the stage.
            work: What it returns must be JSON, or what `Milepost.types` knows.

        Raises:
            ClaimLost: The run was given to another worker while *work* went on.
            NotSerializable: The result cannot be kept. It was done, and will be done again.
        """
        result: T = self._once(name, work)
        return result

    async def once_async(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do what `once` does, for a coroutine function; the event loop goes on meanwhile."""
        loop = asyncio.get_running_loop()

        def wait() -> T:
            return asyncio.run_coroutine_threadsafe(_awaited(work), loop).result()

        return await asyncio.to_thread(self.once, name, wait)

    def cost(self, **amounts: float) -> None:
        """Report what was spent, by unit: ``ctx.cost(usd=0.12, tokens_in=900, tokens_out=120)``.

        It is noted when this returns, and counted as useful if the stage is committed, else as wasted, but
        for what was spent before the last `save` or `once`. A store that is away learns of it later.

        Raises:
            ClaimLost: The run was cancelled, or given to another worker.
            Misconfigured: An amount is not a number from zero.
        """
        self._cost(amounts)

    def afford(self, **planned: float) -> None:
        """Go on only if the run's budget has room for *planned*; else it is paused here until topped up.

        The next try begins the stage anew, or where `save` and `once` left it. Units without a limit are
        always affordable; ``tokens_in`` and ``tokens_out`` count as ``tokens``, too.
        """
        self._afford(planned)

    def checkpoint(self, state: Any, *, tags: Sequence[str] = ()) -> str:
        """Write a checkpoint in mid-stage, to look at or to restore, and return its id.

        It stands beside the run's commits: `Run.checkpoints` lists it, `Milepost.checkpoints` restores it
        (``restore_from``), and the run does not go on from it by itself; for that there is `save`.

        Raises:
            ClaimLost: The run was given to another worker.
            NotSerializable, TooLarge, Unavailable: As in `CheckpointManager.create`.
        """
        return self._checkpoint(state, tags)

    def blob(self, name: str) -> BlobWriter:
        """Write data too large for a state, as a stream::

            with ctx.blob("features") as out:
                out.write(rows)
            state.features = out.blob

        Keep `blob` in the state (a `Blob`); it lives as long as the run. About 4 MiB of it are in memory.

        Raises:
            InvalidName: *name* breaks the rule for names.
        """
        return self._write_blob(name)

    def open(self, blob: Blob) -> BinaryIO:
        """Return a stream of a blob's bytes, of this run or another.

        Raises, when it is read:
            NotFound: Its run was removed.
            Corrupt: It is damaged.
        """
        return self._open_blob(blob)

    def hand_back(self) -> NoReturn:
        """Give the stage to another worker, which begins it anew or where `save` left it; no failure."""
        raise HandBack

    def check(self) -> None:
        """Raise `ClaimLost` if `cancelled`; for loops that have nothing to tidy up."""
        if self.cancelled:
            raise ClaimLost(f"Run {self.run_id} was cancelled or given to another worker.")


async def _awaited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
