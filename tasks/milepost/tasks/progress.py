"""How far a stage that still runs has come: saved now and then, and gone on from after a crash."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Protocol, TypeVar

from milepost.checkpointing import Misconfigured
from milepost.checkpointing.ids import valid_name

from .duration import Duration, seconds

T = TypeVar("T")


class Saving(Protocol):
    """Where progress goes."""

    def __call__(self, content: Any, done: int, total: int | None) -> None:
        """Keep *content* for the next try of the stage, if this try may still write.

        Raises:
            ClaimLost: It may not: the run was cancelled or given to another worker.
        """


class Progress:
    """What a try of a stage begins with and what it saves: a value, and the position in each loop."""

    def __init__(self, saved: Any = None, save: Saving = lambda content, done, total: None) -> None:
        content = saved if isinstance(saved, dict) else {}
        self.value: Any = content.get("value")
        self._positions: dict[str, int] = dict(content.get("positions", {}))
        self._begun: set[str] = set()
        self._save = save
        self._saved_at = time.monotonic()

    def save(self, value: Any, every: Duration) -> bool:
        """Keep *value*; False if the last time was less than *every* ago, and nothing was written."""
        self.value = value
        if time.monotonic() - self._saved_at < seconds(every):
            return False
        self._write(0, None)
        return True

    def track(
        self,
        items: Iterable[T],
        *,
        every: Duration,
        name: str,
        value: Any,
        leaving: Callable[[], bool],
    ) -> Iterator[T]:
        """Hand out *items* from where the last try stood, saving the position every so often."""
        if valid_name(name, "loop name") in self._begun:
            raise Misconfigured(
                f"This stage tracks a second loop named {name!r}: give each a name of its own, "
                "track(…, name='…')."
            )
        self._begun.add(name)
        pause, done = seconds(every), self._positions.get(name, 0)
        total = len(items) if isinstance(items, Sized) else None
        for item in _from(items, done):
            yield item
            # Asked for the next one, so this one is done.
            done += 1
            self._positions[name] = done
            late = time.monotonic() - self._saved_at >= pause
            if late or leaving():
                if value is not None:
                    self.value = value
                self._write(done, total)

    def _write(self, done: int, total: int | None) -> None:
        self._save({"value": self.value, "positions": dict(self._positions)}, done, total)
        self._saved_at = time.monotonic()


def _from(items: Iterable[T], start: int) -> Iterator[T]:
    if isinstance(items, Sequence):
        return (items[index] for index in range(start, len(items)))
    return islice(items, start, None)
