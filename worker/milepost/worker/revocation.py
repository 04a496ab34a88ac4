"""Revoking the task of a stage pauses its run; nobody publishes again what was revoked."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections import deque
from contextlib import suppress
from typing import Any, ClassVar

from billiard.common import TERM_SIGNAME
from celery import bootsteps, platforms
from celery.signals import task_revoked
from celery.worker.request import Request
from celery.worker.state import revoked_stamps

from milepost.checkpointing import CheckpointError, InvalidName
from milepost.checkpointing.ids import valid_name
from milepost.tasks import Command, Conflict, Milepost, RunStatus, liveness
from milepost.tasks.head import Head, Step
from milepost.tasks.runs.registry import Note

from .settings import WorkerSettings

logger = logging.getLogger("milepost.worker")
_STAMP = "run_id"


class Revocations(bootsteps.StartStopStep):
    """Turns what Celery is told about tasks into what Milepost is told about runs.

    A message that is discarded because its id was revoked pauses its run, if that waits for this very
    step. Terminating a stage pauses its run before the process is struck, and does not count as a crash.
    Revoking the stamp ``run_id`` pauses the run at once, whichever message is under way; the stamp is
    forgotten then, or a resumed run would be revoked for ever.

    While the run store does not answer, pauses are kept and tried again as long as the worker lives.
    """

    requires = ("celery.worker.components:Pool",)
    app: ClassVar[Milepost]
    """Set by the subclass that `install` makes, as in `Guardian`."""

    def __init__(self, worker: Any, **_: Any) -> None:
        self._late: deque[tuple[Step, str | None]] = deque()
        self._writing = threading.Lock()
        self._strange: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._catch_up, name="milepost-revocations", daemon=True
        )

    def start(self, worker: Any) -> None:
        """Hear of revocations; the consumer, which makes requests, comes after this."""
        kind = type("StageRequest", (StageRequest,), {"revocations": self})
        for name in self.app.stage_tasks:
            self.app.celery.tasks[name].Request = kind
        task_revoked.connect(self._on_revoked)
        # Who frees what a struck process held would else let its run go on before it is paused.
        self.app.runtime.before_burial = self._write_late
        self._thread.start()

    def stop(self, worker: Any) -> None:
        """Pauses that could not be written until now are lost."""
        self._ended.set()
        self._thread.join(timeout=2)

    def terminate(self, worker: Any) -> None:
        """Nothing more than in order."""
        self.stop(worker)

    def on_terminate(self, request: Request, signum: int) -> None:
        """Pause the run of a stage that is about to be struck by a signal."""
        pid = request.worker_pid
        if pid not in (None, os.getpid()) and signum == signal.SIGKILL:
            # Whoever finds the process dead is told that the stage is not to blame; on other signals the
            # process itself hands its stage back.
            liveness.announce_stop(self.app.runtime.folder, pid)
        worker = f"{socket.gethostname()}:{pid}"
        self._revoke(request.task.name, request.args, request.kwargs, worker)

    def _on_revoked(
        self,
        sender: Any = None,
        request: Any = None,
        terminated: bool = False,
        expired: bool = False,
        **_: Any,
    ) -> None:
        # Terminating was dealt with before; what has expired is published again like what is lost.
        if not (terminated or expired):
            self._revoke(sender.name, request.args, request.kwargs, None)

    def _revoke(self, task: str, args: Any, kwargs: Any, worker: str | None) -> None:
        read = self.app.read_message(task, args, kwargs)
        if read is None:
            return
        revoked = (read[1], worker)
        self._strange.discard(read[1].run_id)
        # While a store keeps its caller waiting, the worker's event loop shall not wait for each.
        if self._late or not self._pause(*revoked):
            self._late.append(revoked)

    def _pause(self, step: Step, worker: str | None, *, late: bool = False) -> bool:
        """Pause the run if *step* is due, or *worker* runs it; False: the store does not answer.

        A task may have gone on with later stages than the one its message names. *late*: whoever runs the
        run by now does so because the pause could not be written in time.
        """
        try:
            head = self.app.runs.get(step.run_id)
            if head is not None and _is_meant(head, step, worker, late):
                # One that has ended meanwhile has nothing left to pause.
                with suppress(Conflict):
                    self.app.lifecycle.on_behalf_of("celery").pause(step.run_id)
                _forget_stamp(step.run_id)
                logger.warning(
                    "Run %s is paused, because its stage %s was revoked.", step.run_id, step.stage
                )
        except CheckpointError as error:
            logger.warning("Run %s cannot be paused yet: %s", step.run_id, error)
            return False
        return True

    def _write_late(self) -> bool:
        """Write the pauses that could not be written; False: they still cannot."""
        with self._writing:
            while self._late:
                if not self._pause(*self._late[0], late=True):
                    return False
                self._late.popleft()
        return True

    def _catch_up(self) -> None:
        seconds = WorkerSettings().neighbour_seconds
        while not self._ended.wait(seconds):
            try:
                self._write_late()
                self._obey_stamps()
            except CheckpointError as error:
                logger.warning("A revoked run cannot be paused yet: %s", error)
            except Exception:
                logger.exception("Looking after revocations failed; it goes on.")

    def _obey_stamps(self) -> None:
        stamps = revoked_stamps.get(_STAMP) or []
        for run_id in {*filter(_is_text, stamps)} - self._strange:
            try:
                status = self.app.runs.pause(valid_name(run_id))
            except InvalidName:
                status = None
            if status is None:
                # Somebody else's stamp of that name, or a run that is yet to come: Celery's affair.
                self._strange.add(run_id)
                continue
            _forget_stamp(run_id)
            if not status.ended:
                self.app.runs.note(Note(run_id, "celery", Command.PAUSE, "revoked by its stamp"))
                logger.warning("Run %s is paused, because it was revoked by its stamp.", run_id)


class StageRequest(Request):
    """Celery's record of a message, which tells before it strikes."""

    revocations: ClassVar[Revocations]

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """End the stage; its run is paused first."""
        type(self).revocations.on_terminate(self, platforms.signals.signum(signal or TERM_SIGNAME))
        super().terminate(pool, signal=signal)


def _is_meant(head: Head, step: Step, worker: str | None, late: bool) -> bool:
    terminated = worker is not None
    if head.status is RunStatus.RUNNING and head.worker == worker:
        return True
    if head.step != step and not (terminated and late and head.sequence > step.sequence):
        return False
    if head.status is RunStatus.RUNNING:
        return late
    return head.status is RunStatus.QUEUED or (terminated and head.status is RunStatus.SCHEDULED)


def _forget_stamp(run_id: str) -> None:
    with suppress(KeyError, ValueError):
        revoked_stamps[_STAMP].remove(run_id)


def _is_text(value: object) -> bool:
    return isinstance(value, str)
