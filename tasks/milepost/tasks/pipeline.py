"""A pipeline: a named, versioned sequence of stages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, overload

from milepost.checkpointing import MilepostError, Misconfigured
from milepost.checkpointing.ids import valid_name

from .duration import Duration, seconds
from .errors import UnknownPipeline
from .order import StartOptions, ordered, ordered_all
from .retry import Retry
from .run import Run
from .stage import Stage, StageOptions
from .versions import order

if TYPE_CHECKING:
    from .app import Milepost

F = TypeVar("F", bound=Callable[..., Any])


class Options(TypedDict, total=False):
    """The keyword arguments of `Pipeline.stage`; `StageOptions` says what they mean."""

    retry: Retry
    timeout: Duration | None
    queue: str | None
    priority: int
    rate_limit: str | None
    formerly: Sequence[str]


Upcaster = Callable[[Any], Any]


class Pipeline:
    """Stages in the order in which they were defined. Made by `Milepost.pipeline`."""

    def __init__(
        self,
        app: Milepost,
        name: str,
        version: str = "1",
        keep: int | None = None,
        keep_on_success: int | None = None,
        burst: Duration = 0,
    ) -> None:
        for number in (keep, keep_on_success):
            if number is not None and number < 1:
                raise Misconfigured(f"{number} checkpoints cannot be kept: expected 1 or more.")
        self.keep = keep
        self.keep_on_success = keep if keep_on_success is None else keep_on_success
        self.burst_seconds = seconds(burst)
        self.app = app
        self.name = valid_name(name, "pipeline name")
        self.version = valid_name(version, "pipeline version")
        self.stages: dict[str, Stage] = {}
        self._following: dict[str, Stage] = {}
        self.instead: dict[str, str] = {}
        """Stages that were removed, and which one comes instead."""
        self._former: dict[str, str] = {}
        self._upcasters: dict[str, Upcaster] = {}
        self._fingerprint: str | None = None

    @overload
    def stage(self, function: F, /) -> F: ...
    @overload
    def stage(
        self, /, *, name: str | None = None, **options: Unpack[Options]
    ) -> Callable[[F], F]: ...
    def stage(
        self, function: F | None = None, /, *, name: str | None = None, **options: Any
    ) -> F | Callable[[F], F]:
        """Add a function as the next stage; use as ``@pipeline.stage`` or ``@pipeline.stage(retry=…)``.

        The function itself is returned unchanged, so that it can be called and tested as it is.

        Args:
            name: Defaults to the function's.
            **options: See `StageOptions`.

        Raises:
            Misconfigured: The name is taken, or the function cannot be a stage.
        """

        def add(function: F) -> F:
            stage = Stage(name or function.__name__, function, StageOptions(**options))
            self._take(stage.name)
            if self.stages:
                self._following[next(reversed(self.stages))] = stage
            self.stages[stage.name] = stage
            self._fingerprint = None
            self.app.register(self, stage.name, stage)
            former_names = stage.options.formerly
            for former in [former_names] if isinstance(former_names, str) else former_names:
                self._take(valid_name(former, "former stage name"))
                self._former[former] = stage.name
                self.app.register(self, former, stage)
            return function

        return add if function is None else add(function)

    def removed(self, name: str, *, then: str) -> None:
        """Say that a stage is no more, and that runs which are due at it go on at the stage *then*.

        Raises:
            Misconfigured: There is a stage *name*, or none *then*.
        """
        if then not in self.stages:
            raise Misconfigured(
                f"Pipeline {self.name} has no stage {then!r} to go on at instead of {name!r}."
            )
        self._take(valid_name(name, "stage name"))
        self.instead[name] = then
        self.app.register(self, name, self.stages[then])

    def upcast(self, version: str) -> Callable[[F], F]:
        """Add a function that turns a state of *version*, as JSON, into one of the version after it.

        A state goes through all that are between the version that wrote it and this one, in their order,
        before it is validated as what its stage takes.

        Raises:
            Misconfigured: *version* has one already, or is not below this one.
        """

        def add(function: F) -> F:
            if version in self._upcasters or order(version) >= order(self.version):
                raise Misconfigured(
                    f"Version {version} of pipeline {self.name} cannot be upcast twice, and has to be below "
                    f"{self.version}."
                )
            self._upcasters[valid_name(version, "pipeline version")] = function
            return function

        return add

    @property
    def has_upcasters(self) -> bool:
        """Whether states may have to be turned into those of a later version."""
        return bool(self._upcasters)

    def upcasters_from(self, version: str | None) -> list[Upcaster]:
        """Return what a state that *version* wrote goes through, in order."""
        if version is None or version == self.version:
            return []
        versions = sorted((v for v in self._upcasters if order(v) >= order(version)), key=order)
        return [self._upcasters[v] for v in versions]

    @property
    def fingerprint(self) -> str:
        """A digest of the stages in their order, and of the fields of what they take and give."""
        if self._fingerprint is None:
            shape = [(s.name, s.shape) for s in self.stages.values()]
            self._fingerprint = blake2b(json.dumps(shape).encode(), digest_size=8).hexdigest()
        return self._fingerprint

    @property
    def known_stages(self) -> tuple[str, ...]:
        """All names under which a run can be due here: of stages, former ones and of removed stages."""
        return (*self.stages, *self._former, *self.instead)

    def name_now(self, stage: str) -> str | None:
        """Return what the stage *stage*, of whatever version, is called now; None: it is no more."""
        return stage if stage in self.stages else self._former.get(stage)

    def due_now(self, stage: str) -> str | None:
        """Return where a run goes on that is due at *stage*: there, or at what comes instead."""
        return self.name_now(stage) or self.instead.get(stage)

    def known(self, name: str) -> Stage:
        """Return the stage that *name* is called now; raises `UnknownPipeline` if it is none."""
        now = self.name_now(name)
        if now is None:
            raise UnknownPipeline(
                f"Pipeline {self.name} has no stage {name!r}; it has {', '.join(self.stages)}."
            )
        return self.stages[now]

    def _take(self, name: str) -> None:
        if name in self.stages or name in self._former or name in self.instead:
            raise Misconfigured(f"Pipeline {self.name} has a stage {name} already.")

    def following(self, stage: str) -> Stage | None:
        """Return the stage after *stage*; None after the last.

        Raises:
            UnknownPipeline: There is no such stage.
        """
        if stage not in self.stages:
            raise UnknownPipeline(
                f"Pipeline {self.name} has no stage {stage!r}; it has {', '.join(self.stages)}."
            )
        return self._following.get(stage)

    @property
    def first(self) -> Stage:
        """The first stage.

        Raises:
            Misconfigured: There is none yet.
        """
        for stage in self.stages.values():
            return stage
        raise Misconfigured(f"Pipeline {self.name} has no stages.")

    def start(
        self,
        state: Any = None,
        *,
        run_id: str | None = None,
        **options: Unpack[StartOptions],
    ) -> Run:
        """Start a run and return it at once.

        When this returns the run is durable and will end; if the process dies in it, either nothing
        happened or the run goes on by itself. Starting the same id with the same input again returns
        the run that is there.

        Args:
            state: The first stage's input: its model, or a dict that the model accepts.
            run_id: A name of your own, and the idempotency key; by default a fresh one.
            **options: See `StartOptions`.

        Raises:
            StateInvalid, NotSerializable, TooLarge: The input cannot be used; nothing was written.
            InvalidName: The run id, the tenant or a tag breaks the rule for names.
            Misconfigured: A limit of the budget is not a number above zero; the delay or the priority
                cannot be read.
            InputMismatch: The id belongs to a run of another pipeline or with another input.
            Unavailable: The store does not answer; whether the run was made is not known, and
                starting it again with the same id is safe.
        """
        order = ordered(self, state, run_id, options)
        self.app.lifecycle.start(self, order)
        return Run(self.app, order.run_id)

    def start_many(
        self,
        states: Iterable[Any],
        *,
        run_ids: Iterable[str] | None = None,
        **options: Unpack[StartOptions],
    ) -> list[Run]:
        """Start a run for each state, many at a time; what holds for `start` holds for each.

        All inputs are looked at before the first run is made: if one cannot be used, none is started. If the
        process dies in it, some are started; doing it again with the same *run_ids* starts the others.

        Args:
            states: Inputs, in memory all at once: for millions, call this for some thousand at a time.
            run_ids: As many ids; by default fresh ones.
            **options: See `StartOptions`; the same for all.

        Raises:
            What `start` raises; `InputMismatch` and `TooLarge` after all others have been started.
        """
        given = [*states]
        names = [None] * len(given) if run_ids is None else [*run_ids]
        if len(names) != len(given) or len({*names} - {None}) < (len(names) if run_ids else 0):
            raise Misconfigured(f"{len(given)} states need as many run ids, each another one.")
        orders = ordered_all(self, given, names, options)
        refused: MilepostError | None = None
        for outcome in self.app.lifecycle.start_many(self, orders):
            if isinstance(outcome, MilepostError):
                refused = refused or outcome
        if refused is not None:
            raise refused
        return [Run(self.app, order.run_id) for order in orders]

    def delay(self, state: Any = None) -> Run:
        """Start a run with defaults, as Celery's `Task.delay` does."""
        return self.start(state)

    def apply_async(
        self,
        args: Sequence[Any] = (),
        *,
        task_id: str | None = None,
        countdown: float | None = None,
        eta: datetime | None = None,
    ) -> Run:
        """Start a run the way a Celery task is: ``args`` holds the one state, `task_id` is the run id."""
        if len(args) > 1:
            raise Misconfigured(f"A pipeline takes one state; {len(args)} arguments were given.")
        state = args[0] if args else None
        if eta is not None:
            return self.start(state, run_id=task_id, at=eta)
        return self.start(state, run_id=task_id, delay=countdown)

    def call(self, state: Any = None) -> Any:
        """Run all stages here and now, without stores, checkpoints or retries, and return the last state.

        For tests, and to compare with. Stages that take a context get one that is never stopping.
        """
        return self.app.call_inline(self, state)
