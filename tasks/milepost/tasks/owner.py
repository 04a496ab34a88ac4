"""A process that runs stages: its identity, its heartbeat and the claims it holds."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from random import Random
from secrets import token_hex

from milepost.checkpointing import CheckpointError

from .observer import NOBODY, Observer
from .process import Process
from .runs import Bid, RunStore
from .settings import TaskSettings

logger = logging.getLogger(__name__)


class Owner:
    """Holds claims and keeps them alive from a thread of its own, three beats a lapse.

    A stopped process, or one whose interpreter is held by native code, does not beat and counts as gone:
    its token is worth nothing when it wakes. Nothing is renewed for single runs.

    Args:
        folder: Where its lock file goes; see `liveness`.
    """

    def __init__(
        self,
        runs: RunStore,
        settings: TaskSettings,
        folder: Path,
        observer: Observer = NOBODY,
        process: Process | None = None,
    ) -> None:
        self.id = token_hex(8)
        self._process = process or Process()
        self.worker = self._process.worker
        self._runs = runs
        self._folder = folder
        self._lapse = settings.heartbeat_lapse_seconds
        self._observer = observer
        self._lock = threading.Lock()
        self._ordinal = 0
        # Seeded by the system, and cheaper than asking it each time.
        self._random = Random()
        self._held: set[str] = set()
        self._given: set[str] = set()
        self._lost: set[str] = set()
        self._acknowledged = self._process.monotonic()
        self._closed = threading.Event()
        self._file = self._process.enrol(folder, self.id)
        self._join = self._process.in_background(self._beat_on, "milepost-heart")

    def bid(self) -> Bid:
        """Return a bid for a claim; from here on the heartbeat names it, until `drop`."""
        with self._lock:
            if not self._held:
                # A claim renews its owner, so an idle owner's silence does not count against it.
                self._acknowledged = self._process.monotonic()
            self._ordinal += 1
            nonce = f"{self._random.getrandbits(64):016x}"
            self._held.add(nonce)
            return Bid(self.id, nonce, self._ordinal, self.worker)

    def drop(self, bid: Bid) -> None:
        """Stop naming a bid: its claim was used, given up or never had."""
        with self._lock:
            self._held.discard(bid.nonce)
            self._given.discard(bid.nonce)
            self._lost.discard(bid.nonce)

    def has_lost(self, bid: Bid) -> bool:
        """Whether the claim is known to be gone, or must be taken for gone.

        The latter by this process's own monotonic clock: when the last heartbeat that the store
        acknowledged is so old that others may claim the run.
        """
        return bid.nonce in self._lost or not self.is_fresh

    @property
    def is_fresh(self) -> bool:
        """Whether nobody can have claimed what this process holds."""
        return self._process.monotonic() - self._acknowledged < self._lapse

    @property
    def stopping(self) -> bool:
        """Whether the worker was told to stop."""
        return self._process.told_to_stop(self._folder)

    def beat(self) -> None:
        """Send one heartbeat now.

        Raises:
            Unavailable: The store does not answer.
        """
        with self._lock:
            held, given, as_of = set(self._held), set(self._given), self._ordinal
        sent = self._process.monotonic()
        lost = self._runs.beat(self.id, held, as_of, leaving=self.stopping)
        with self._lock:
            self._acknowledged = max(self._acknowledged, sent)
            # A bid whose claim was on its way when this beat was sent is not lost; the next one tells.
            self._lost |= lost & given & self._held

    def confirm(self, bid: Bid) -> None:
        """Note that the claim was given."""
        with self._lock:
            self._given.add(bid.nonce)

    def close(self) -> None:
        """Leave in order: what is still held is freed uncounted."""
        self._closed.set()
        self._join(1)
        try:
            self._runs.bury(self.id, "leaving")
        except CheckpointError as error:
            logger.warning("Could not sign off: %s", error)
        else:
            self._file.release()

    def _beat_on(self) -> None:
        lapsed = False
        while not self._closed.wait(self._lapse / 3):
            was, lapsed = lapsed, bool(self._held) and not self.is_fresh
            if lapsed and not was:
                self._observer.lapsed()
            try:
                self.beat()
            except CheckpointError as error:
                self._observer.unheard()
                logger.warning("Heartbeat failed: %s", error)
            except Exception:
                # Without this thread the process would lose whatever it claims.
                logger.exception("Heartbeat failed; it goes on.")
