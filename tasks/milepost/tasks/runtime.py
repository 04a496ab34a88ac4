"""What one process needs to work on runs: open stores, an engine, and an owner once it runs stages."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery

from milepost.checkpointing import CheckpointError, CheckpointManager, CheckpointMetadata
from milepost.checkpointing.redis_connection import SCHEMES as REDIS_SCHEMES
from milepost.checkpointing.redis_connection import open_redis

from . import liveness
from .actor import default_actor
from .dispatch import Dispatch
from .engine import Engine
from .event_buffer import EventBuffer
from .faultpoints import FaultPoints
from .head import FACTS, Head
from .intents import Intents
from .lifecycle import Lifecycle
from .markers import Markers
from .observer import Observers
from .outbox import Outbox
from .owner import Owner
from .process import Process
from .rebuilding import Rebuilder
from .reconcile import Reconciler
from .routing import Routing
from .runs import RunStore
from .runs.base import IDENTITY_KEY
from .settings import TaskSettings
from .spent import Amounts, added, read_amounts, write_amounts
from .versions import Versions

if TYPE_CHECKING:
    from .pipeline import Pipeline

logger = logging.getLogger("milepost")


class Runtime:
    """Built once a process, because connections, locks and threads do not survive a fork."""

    def __init__(
        self,
        celery: Celery,
        runs: RunStore,
        checkpoints: CheckpointManager,
        settings: TaskSettings,
        faultpoints: FaultPoints,
        versions: Mapping[str, Versions],
        observers: Observers,
        process: Process | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        self.celery = celery
        self.versions = versions
        self.observers = observers
        self.process = process or Process()
        self.runs = runs
        self.checkpoints = checkpoints
        self.settings = settings
        self.faultpoints = faultpoints
        self.log_in_runs = runs.holds_log(checkpoints.store)
        self.routing = Routing(celery)
        outbox = outbox or Outbox(celery, push=self._broker_in_runs())
        self.dispatch = Dispatch(runs, outbox, settings)
        self.markers = Markers(self)
        self.intents = Intents(self)
        self.lifecycle = Lifecycle(self, settings.actor or default_actor())
        self.events = EventBuffer(celery)
        self.engine = Engine(self, SoftTimeLimitExceeded)
        self.reconciler = Reconciler(self)
        self.rebuilder = Rebuilder(self)
        self.before_burial: Callable[[], bool] = lambda: True
        """Asked before what a dead process held is freed; False: not yet."""
        self._owner: Owner | None = None
        self._owner_lock = threading.Lock()

    def facts(self, head: Head, spent: Amounts | None = None) -> dict[str, str] | None:
        """Return what checkpoints say of their run, should the run store be lost and they not.

        Args:
            spent: By the try that ends with the checkpoint.
        """
        if self.log_in_runs:
            return None
        useful = write_amounts(added(read_amounts(head.spent_useful), spent or {}))
        known = {name: str(getattr(head, name)) for name in FACTS}
        return {name: text for name, text in {**known, "spent_useful": useful}.items() if text}

    def forget_blobs_later(self, run_id: str) -> None:
        """Let blobs that are in a store of their own go about when the ended run does."""
        kept = self.settings.retention_seconds
        if kept:
            try:
                self.checkpoints.expire_blobs(run_id, kept + 3600)
            except CheckpointError as error:
                logger.warning("Run %s: its blobs are kept: %s", run_id, error)

    def thin(self, pipeline: Pipeline, last: CheckpointMetadata) -> None:
        """Remove what *pipeline* does not keep; what is left by dying here goes with the run's end."""
        ended = last.next_stage is None
        keep = pipeline.keep_on_success if ended else pipeline.keep
        if keep is not None:
            try:
                self.checkpoints.thin(last.key, keep, wholly=ended)
            except CheckpointError as error:
                logger.warning("Run %s: old checkpoints are left: %s", last.run_id, error)

    def keep_blobs(self, run_id: str) -> None:
        """Let blobs stay that were to go with a run which goes on after all."""
        self.checkpoints.expire_blobs(run_id, None)

    @cached_property
    def folder(self) -> Path:
        """Where processes of this host that work on the same run store meet."""
        return liveness.directory(self.settings, self.runs.identity())

    @property
    def owner(self) -> Owner:
        """This process as an owner of claims; its heart begins to beat at the first use."""
        with self._owner_lock:
            if self._owner is None:
                self._owner = Owner(
                    self.runs, self.settings, self.folder, self.observers, self.process
                )
            return self._owner

    @property
    def owner_id(self) -> str | None:
        """The owner's id, if this process has run stages."""
        return self._owner.id if self._owner else None

    def close(self) -> None:
        """Sign off and close the stores."""
        self.events.close()
        if self._owner is not None:
            self._owner.close()
        self.checkpoints.close()
        self.runs.close()

    def _broker_in_runs(self) -> bool:
        """Whether the broker is the very Redis and database that holds the runs: proven by a probe."""
        url = self.celery.conf.broker_write_url or self.celery.conf.broker_url
        if not isinstance(url, str) or url.split("://")[0] not in REDIS_SCHEMES or ";" in url:
            return False
        mine, client = self.runs.identity(), open_redis(url, self.settings)
        try:
            seen = client.get(IDENTITY_KEY)
        except Exception as error:  # noqa: BLE001 - an unreachable broker is simply not the run store
            logger.warning("The broker does not answer: %s", error)
            return False
        finally:
            client.close()
        return isinstance(seen, bytes) and seen.decode() == mine
