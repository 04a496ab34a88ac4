"""Waiting for a store that is away: what a stage has worked out is worth it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from milepost.checkpointing import Unavailable

from .process import Process

logger = logging.getLogger("milepost")
P = ParamSpec("P")
T = TypeVar("T")


class Patience:
    """Calls something until the store answers, for so many seconds at most."""

    def __init__(self, seconds: float, process: Process) -> None:
        self._seconds = seconds
        self._process = process

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *call* returns.

        Raises:
            Unavailable: The store was away for all of the time.
        """
        end = self._process.monotonic() + self._seconds
        pause = 0.1
        while True:
            try:
                return call(*args, **kwargs)
            except Unavailable as error:
                if self._process.monotonic() + pause > end:
                    raise
                logger.warning("Trying again in %.1f s: %s", pause, error)
            self._process.sleep(pause)
            pause = min(2.0, pause * 2)
