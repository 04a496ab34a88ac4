"""How much of one kind goes on at once, for one key and in all: places that are taken and given back."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from .problems import BUSY, RETRY_SECONDS, TOO_MANY, Problem


class Holder(Protocol):
    """Who takes a place."""

    @property
    def name(self) -> str:
        """Of their key."""

    @property
    def key_id(self) -> str:
        """Its id."""


class Places:
    """Counts what goes on in this process. Several processes of the API have as many places each.

    Args:
        what: Takes them, in words, many of it.
        each: How many one key may have.
        most: How many there are.
    """

    def __init__(self, what: str, each: int, most: int) -> None:
        self._what = what
        self._each = each
        self._most = most
        self._by_key: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, holder: Holder) -> None:
        """Take a place, to be given back by `give_back`.

        Raises:
            Problem: 429, the key has as many as it may; 503, all are taken.
        """
        with self._lock:
            if self._by_key[holder.key_id] >= self._each:
                kind = TOO_MANY
                told = f"The key {holder.name} has as many {self._what} as it may at once: {self._each}."
            elif self._by_key.total() >= self._most:
                kind = BUSY
                told = f"There are as many {self._what} as may be at once: {self._most}."
            else:
                self._by_key[holder.key_id] += 1
                return
        raise Problem(
            kind,
            f"{told} Try again when one has ended.",
            headers={"Retry-After": f"{RETRY_SECONDS}"},
        )

    def give_back(self, holder: Holder) -> None:
        """Give a place back."""
        with self._lock:
            self._by_key[holder.key_id] -= 1
            if not self._by_key[holder.key_id]:
                del self._by_key[holder.key_id]

    @contextmanager
    def taken(self, holder: Holder) -> Iterator[None]:
        """Have a place; raises as `take` does."""
        self.take(holder)
        try:
            yield
        finally:
            self.give_back(holder)
