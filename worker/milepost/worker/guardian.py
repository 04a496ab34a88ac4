"""The guardian: recovery and orderly stopping, from a thread beside the worker's own loop."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from celery import bootsteps, platforms
from celery.signals import worker_process_shutdown, worker_shutdown, worker_shutting_down

from milepost.checkpointing import CheckpointError
from milepost.tasks import Milepost, RunStatus, liveness
from milepost.tasks.runs import Cause

from .checks.at_start import weaknesses
from .presence import Presence
from .settings import WorkerSettings

logger = logging.getLogger("milepost.worker")
_PARENTS_SECONDS = 1.0
"""How long the death of a pool process is left to its own worker, which asks five times in that time."""


class Guardian(bootsteps.StartStopStep):
    """Looks after this host's processes and everybody's runs as long as the worker lives.

    Five times a second it asks whether a process of this host that held claims has died, and frees them
    at once; once a second, from another thread, because stores and brokers may keep it waiting, it
    reconciles. On SIGTERM it tells stages to stop and ends the worker when the grace period is over.
    """

    requires = ("celery.worker.components:Pool",)
    app: ClassVar[Milepost]
    """Set by the subclass that `install` makes: Celery makes the instance, and knows no Milepost."""

    def __init__(self, worker: Any, **_: Any) -> None:
        self._settings = WorkerSettings()
        for weakness in weaknesses(self.app):
            logger.warning(str(weakness))
        self._prefork = "prefork" in worker.pool_cls.__module__
        self._stopping = threading.Event()
        self._cold = False
        self._ended = threading.Event()
        self._runtime = self.app.runtime
        self._born = time.time()
        self._first_seen: dict[str, float] = {}
        self._wake = threading.Event()
        self._presence = Presence(self.app, worker, self._stopping)
        self._threads = [
            threading.Thread(target=self._watch, name="milepost-guardian", daemon=True),
            threading.Thread(target=self._look_on, name="milepost-reconciler", daemon=True),
        ]
        # What is loaded by now stays loaded. Pool processes are forked next, and collecting garbage in
        # all of them would go through it again and again: a tenth of what a short stage costs.
        gc.collect()
        gc.freeze()

    def start(self, worker: Any) -> None:
        """Free what earlier workers of this host left, before the first message is taken."""
        # Before the flag of an earlier process of this pid is withdrawn: it tells how that one ended.
        self._tend()
        liveness.withdraw_stop(self._runtime.folder)
        worker_shutting_down.connect(self._on_shutting_down)
        # Celery stops its steps backwards, this one before the pool: stages still run then, and still
        # need looking after. The signal comes when they have ended.
        worker_shutdown.connect(self._on_shutdown)
        if not self._prefork:
            platforms.signals["SIGQUIT"] = self._on_quit
        worker_process_shutdown.connect(self._on_child_leaving)
        self._presence.start()
        for thread in self._threads:
            thread.start()

    def terminate(self, worker: Any) -> None:
        """Leave in haste (SIGQUIT): what is still held is handed back uncounted."""
        liveness.announce_stop(self._runtime.folder)
        self._hand_back()
        self._presence.leave()

    def _on_shutting_down(self, **_: Any) -> None:
        liveness.announce_stop(self._runtime.folder)
        self._stopping.set()

    def _on_shutdown(self, **_: Any) -> None:
        self._ended.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(timeout=2)
        self._presence.leave()
        self.app.close()
        liveness.withdraw_stop(self._runtime.folder)

    def _on_quit(self, *_: Any) -> None:
        # Celery's own handler raises NotImplementedError in these pools; in solo that is inside the
        # stage, which would be blamed. The stores are not touched in a signal handler: `_watch` ends.
        self._cold = True
        self._on_shutting_down()

    def _on_child_leaving(self, **_: Any) -> None:
        self.app.close()

    def _watch(self) -> None:
        stop_at: float | None = None
        while not self._ended.wait(self._settings.neighbour_seconds):
            now = time.monotonic()
            try:
                if self._tend():
                    self._wake.set()
            except Exception:
                logger.exception("Looking after this host's processes failed; it goes on.")
            if self._stopping.is_set() and stop_at is None:
                stop_at = now + self._settings.grace_seconds
            if self._cold or (stop_at is not None and now >= stop_at):
                self._end_by_force()
                return

    def _tend(self) -> bool:
        """Bury the owners of this host that have ended; True if there were any."""
        found = False
        folder, now = self._runtime.folder, time.monotonic()
        first_seen: dict[str, float] = {}
        for owner in liveness.gone(folder, self._runtime.owner_id):
            cause = cause_of_death(folder, owner, self._born)
            since = first_seen[owner.owner] = self._first_seen.get(owner.owner, now)
            if cause == "owner" and liveness.lives(owner.parent) and now < since + _PARENTS_SECONDS:
                # Its parent knows better what this death says about the stage.
                continue
            if not self._runtime.before_burial():
                continue
            try:
                runs = self._runtime.runs.bury(owner.owner, cause)
            except CheckpointError as error:
                logger.warning("Cannot free what owner %s held: %s", owner.owner, error)
                continue
            liveness.forget(folder, owner)
            self._tell_crashed(runs)
            if runs:
                logger.warning("A process has died (%s); going on with: %s", cause, ", ".join(runs))
                found = True
        self._first_seen = first_seen
        liveness.sweep(folder)
        return found

    def _look_on(self) -> None:
        while not self._ended.is_set():
            self._look()
            self._wake.wait(self._settings.reconcile_seconds)
            self._wake.clear()

    def _tell_crashed(self, runs: list[str]) -> None:
        if self.app.observers:
            with suppress(CheckpointError):
                for head in map(self._runtime.runs.get, runs):
                    if head is not None and head.status is RunStatus.FAILED:
                        self.app.observers.crashed(head)

    def _look(self) -> None:
        try:
            self.app.observers.looked(self._runtime.reconciler.look())
        except CheckpointError as error:
            self.app.observers.looked(None)
            logger.warning("Cannot look after runs: %s", error)
        except Exception:
            # A thread that looks after everybody's runs must not end by one run's oddity.
            logger.exception("Looking after runs failed; it goes on.")

    def _hand_back(self) -> None:
        folder = self._runtime.folder
        for owner in liveness.owners(folder):
            if owner.parent == os.getpid() or owner.owner == self._runtime.owner_id:
                try:
                    self._runtime.runs.bury(owner.owner, "leaving")
                except CheckpointError as error:
                    logger.warning("Cannot hand back: %s", error)
        self._look()

    def _end_by_force(self) -> None:
        logger.warning(
            "Stages still run after %g s of grace; they are handed back and the worker ends.",
            self._settings.grace_seconds,
        )
        self._hand_back()
        if self._prefork:
            os.kill(os.getpid(), signal.SIGQUIT)
        else:
            self._presence.leave()
            # Threads cannot be interrupted, and Celery's cold shutdown does not know these pools.
            os._exit(1)


def cause_of_death(folder: Path, owner: liveness.Neighbour, since: float) -> Cause:
    """Say what the end of a process of this host tells about its stages.

    Args:
        since: When the calling worker came. What is older was no child of its, whatever the pids say: in
            a container that is started again they are the same.
    """
    if liveness.told_to_stop(folder, owner.pid, owner.parent):
        return "leaving"
    is_child = owner.parent == os.getpid() and owner.pid != owner.parent and owner.born >= since
    return "child" if is_child else "owner"
