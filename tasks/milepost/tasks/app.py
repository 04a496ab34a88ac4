"""The application: pipelines, the Celery app that runs them, and the stores they are kept in."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from functools import partial
from typing import Any

from celery import Celery
from celery.signals import celeryd_init

from milepost.checkpointing import Checkpoint, CheckpointManager, Misconfigured, Types, open_store
from milepost.checkpointing.redaction import SECRETS, redacted
from milepost.checkpointing.redis_connection import SCHEMES as REDIS_SCHEMES

from .bulk import Bulk
from .celery_task import create_task
from .command_tasks import create_command_tasks
from .context import Context
from .duration import Duration
from .errors import HandBack, UnknownPipeline
from .faultpoints import FaultPoints
from .head import Step
from .lifecycle import Lifecycle
from .message import from_kwargs
from .observer import Observers
from .pipeline import Pipeline
from .run import Run
from .runs import RunStore, open_runs
from .runtime import Runtime
from .services import service
from .settings import TaskSettings
from .stage import Stage, validated
from .versions import Versions, order


class Milepost:
    """Durable pipelines on Celery.

    What a Celery app has, this has too: ``celery -A module`` takes it as one, and every attribute it
    does not define itself is the Celery app's.

    Args:
        broker: The URL of a broker, or a Celery app to live in. Nothing: ``MILEPOST_URL``, or else the
            embedded server, which starts at the first use and keeps its data in ``.milepost``.
        runs: The URL of the run store; by default ``MILEPOST_RUNS``, or else the broker, where that is
            Redis.
        checkpoints: The URL of the checkpoint store; by default ``MILEPOST_CHECKPOINTS``, or else the
            run store's Redis or database.
        settings: Defaults to the ``MILEPOST_…`` variables.

    Raises:
        Misconfigured: The broker cannot keep runs, and no run store is named.
    """

    def __init__(
        self,
        broker: str | Celery | None = None,
        *,
        runs: str | None = None,
        checkpoints: str | None = None,
        settings: TaskSettings | None = None,
    ) -> None:
        self.settings = settings or TaskSettings()
        self.versions: dict[str, Versions] = {}
        """What is defined, by the pipelines' names."""
        self._tasks: dict[str, str] = {}
        """The Celery tasks of stages, and the version whose options each has."""
        self.faultpoints = FaultPoints()
        self.observers = Observers()
        self.types = Types()
        """What states without a model may hold beside JSON; `Types.register` adds classes."""
        self._server: Any = None
        if broker is None and (broker := self.settings.url) is None:
            self._server = service("server")()
            broker = str(self._server.url)
        self.owns_celery = isinstance(broker, str)
        for url in (broker, self.settings.runs, runs, checkpoints):
            if isinstance(url, str):
                SECRETS.learn_url(url)
        self.celery: Celery = _celery(broker) if isinstance(broker, str) else broker
        self._runs_url = runs or self.settings.runs
        self._checkpoints_url = checkpoints or self.settings.checkpoints
        self._runtime: Runtime | None = None
        self._runtime_pid = 0
        create_command_tasks(self)
        # The worker room adds its services to workers of this app, however they are started.
        celeryd_init.connect(self._on_worker_init, weak=False)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "celery" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.celery, name)

    def __repr__(self) -> str:
        return f"<Milepost {', '.join(self.versions) or 'without pipelines'}>"

    @property
    def pipelines(self) -> dict[str, Pipeline]:
        """The highest version of each pipeline, by name."""
        return {name: versions.current for name, versions in self.versions.items()}

    def pipeline(
        self,
        name: str,
        version: str = "1",
        *,
        keep: int | None = None,
        keep_on_success: int | None = None,
        burst: Duration = 0,
    ) -> Pipeline:
        """Define a pipeline, or another version of one.

        Runs keep to the version they were started with while that is defined, and then go on with the
        highest, their stages found by name. Raise the version with each change of stages or states: workers
        with older code leave the runs of newer ones alone. Versions are compared by their parts, numbers as
        numbers.

        Args:
            keep: How many checkpoints of a run are kept, its last ones; None: all.
            keep_on_success: How many when it has completed; None: as before.
            burst: For how long one task may go on with the stages that follow, instead of putting each onto
                its queue; see `Burst`. Every stage is committed all the same. 0: each is a task of its own.

        Raises:
            Misconfigured: The version is defined already, fewer than one checkpoint is to be kept, or
                *burst* is no duration.
            InvalidName: Name or version breaks the rule for names.
        """
        pipeline = Pipeline(self, name, version, keep, keep_on_success, burst)
        self.versions.setdefault(name, Versions(name)).add(pipeline)
        return pipeline

    def start(self, pipeline: str, state: Any = None, **options: Any) -> Run:
        """Start a run of the pipeline of that name; see `Pipeline.start`.

        Raises:
            UnknownPipeline: None of that name is defined.
        """
        return self._current(pipeline).start(state, **options)

    def start_many(self, pipeline: str, states: Iterable[Any], **options: Any) -> list[Run]:
        """Start a run of the pipeline of that name for each state; see `Pipeline.start_many`.

        Raises:
            UnknownPipeline: None of that name is defined.
        """
        return self._current(pipeline).start_many(states, **options)

    def run(self, run_id: str) -> Run:
        """Return a handle on a run; whether it exists shows at the first use."""
        return Run(self, run_id)

    @property
    def runtime(self) -> Runtime:
        """This process's open stores and engine.

        Raises:
            Unavailable: A store does not answer.
            Refused: The checkpoint store cannot be relied on.
        """
        if self._runtime is None or self._runtime_pid != os.getpid():
            self.ensure_server()
            runs_url = self._runs_url or self._broker_url()
            runs = open_runs(runs_url, self.settings)
            log = open_store(self._checkpoints_url or runs_url, self.settings)
            self._runtime = Runtime(
                self.celery,
                runs,
                CheckpointManager(log, self.settings, self.types),
                self.settings,
                self.faultpoints,
                self.versions,
                self.observers,
            )
            self._runtime_pid = os.getpid()
        return self._runtime

    def ensure_server(self) -> None:
        """Start the embedded server, if it is the broker and is not up.

        Raises:
            Unavailable: It does not come up.
        """
        if self._server is not None:
            self._server.ensure()

    @property
    def embedded_server(self) -> Any:
        """The embedded server, where nothing else was named; else None."""
        return self._server

    @property
    def runs(self) -> RunStore:
        """The run store."""
        return self.runtime.runs

    @property
    def checkpoints(self) -> CheckpointManager:
        """The checkpoint store, behind its manager."""
        return self.runtime.checkpoints

    @property
    def lifecycle(self) -> Lifecycle:
        """Commands on runs."""
        return self.runtime.lifecycle

    @property
    def bulk(self) -> Bulk:
        """Commands on all runs that a query finds."""
        return Bulk(self.runs, self.lifecycle)

    def close(self) -> None:
        """Sign off and give back this process's connections; the next use opens new ones."""
        if self._runtime is not None and self._runtime_pid == os.getpid():
            self._runtime.close()
        self._runtime = None

    def register(self, pipeline: Pipeline, name: str, stage: Stage) -> None:
        """Make *stage* a Celery task, under its name or a former one.

        Of a stage that several versions have, the task has the limits of the highest.

        Raises:
            Misconfigured: A task of the name ``<pipeline>.<name>`` exists already.
        """
        task = f"{pipeline.name}.{name}"
        if task in self._tasks:
            if order(self._tasks[task]) > order(pipeline.version):
                return
            self.celery.tasks.unregister(task)
        elif task in self.celery.tasks:
            raise Misconfigured(f"A Celery task {task} exists already; rename the stage.")
        create_task(self, pipeline.name, name, stage)
        self._tasks[task] = pipeline.version

    def read_message(self, task: str, args: Any, kwargs: Any) -> tuple[str, Step] | None:
        """Return the pipeline and the step that a message for *task* names; None: it is for no pipeline."""
        found = max((name for name in self.versions if task.startswith(f"{name}.")), default=None)
        if found is None or not isinstance(kwargs, dict):
            return None
        step = from_kwargs(task[len(found) + 1 :], tuple(args), kwargs)
        return None if isinstance(step, str) else (found, step)

    def turn_away(self, task: str, args: Any, kwargs: Any) -> str | None:
        """Deal with a message for a stage that this worker does not know; None if it is for no pipeline."""
        read = self.read_message(task, args, kwargs)
        return None if read is None else self.runtime.engine.turn_away(*read)

    def call_inline(self, pipeline: Pipeline, state: Any) -> Any:
        """Run a pipeline in this process, without stores; see `Pipeline.call`."""
        blobs = CheckpointManager("memory://")
        for stage in pipeline.stages.values():
            if stage.input is not None:
                state = validated(state, stage.input, stage.name)
            logger = logging.getLogger(f"milepost.{pipeline.name}")
            context = Context(
                run_id="inline",
                pipeline=pipeline.name,
                stage=stage.name,
                sequence=0,
                attempt=1,
                idempotency_key=f"inline-{stage.name}",
                log=logging.LoggerAdapter(logger, {"run_id": "inline", "stage": stage.name}),
                _stopping=lambda: False,
                _cancelled=lambda: False,
                _write_blob=partial(blobs.write_blob, "inline"),
                _open_blob=blobs.open_blob,
                _checkpoint=lambda state, tags: _id(blobs.create("inline", state, tags=tags)),
            )
            try:
                state = stage.call(state, context)
            except HandBack:
                raise Misconfigured(
                    f"Stage {stage.name} handed back; inline there is nobody to."
                ) from None
        return state

    @property
    def stage_tasks(self) -> tuple[str, ...]:
        """The names of the Celery tasks that are stages."""
        return tuple(self._tasks)

    def has_foreign_tasks(self) -> bool:
        """Whether the Celery app runs tasks that are not stages."""
        return any(
            not name.startswith(("celery.", "milepost.")) and name not in self._tasks
            for name in self.celery.tasks
        )

    def _current(self, name: str) -> Pipeline:
        if name not in self.versions:
            known = ", ".join(self.versions) or "none"
            raise UnknownPipeline(f"No pipeline {name!r} is defined here; known: {known}.")
        return self.versions[name].current

    def _broker_url(self) -> str:
        url = self.celery.conf.broker_write_url or self.celery.conf.broker_url
        if not isinstance(url, str) or url.split("://")[0] not in REDIS_SCHEMES:
            if "://" not in str(url):
                raise Misconfigured(
                    f"The broker {str(url)!r} is no URL: expected one such as redis://host:6379/0."
                )
            raise Misconfigured(
                f"The broker {redacted(str(url))} cannot keep runs. Name a run store, with runs= or "
                "MILEPOST_RUNS: redis://host/0 or postgresql://host/name."
            )
        return url

    def _on_worker_init(self, instance: Any = None, **_: Any) -> None:
        if instance is not None and instance.app is self.celery:
            self.ensure_server()
            service("worker")(self, instance)


def _id(checkpoint: Checkpoint | None) -> str:
    assert checkpoint is not None
    return checkpoint.checkpoint_id


def _celery(url: str) -> Celery:
    """Return a Celery app of our own: JSON only, no results, nothing fetched that is not run soon."""
    if url.startswith("unix://"):
        url = url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")
    celery = Celery("milepost", broker=url, set_as_current=False)
    celery.conf.update(
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_transport_options={"socket_timeout": 30, "socket_keepalive": True},
        task_default_queue="milepost",
        task_ignore_result=True,
        task_serializer="json",
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
    )
    return celery
