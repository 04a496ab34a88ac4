"""A stage: one function of a pipeline, what it takes and gives, and how it is run."""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, RootModel, TypeAdapter, ValidationError

from milepost.checkpointing import Misconfigured
from milepost.checkpointing.ids import valid_name
from milepost.checkpointing.plain_json import join

from .digest import may_hold_sets
from .duration import Duration, seconds
from .errors import StateInvalid
from .retry import Retry

if TYPE_CHECKING:
    from .context import Context

StageFunction = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class StageOptions:
    """How a stage is routed, limited and retried; the names mean what they mean in Celery.

    Args:
        retry: When a failed stage is tried again; by default not by itself.
        timeout: How long one try may take. Prefork interrupts the stage with `StageTimeout` (Celery's
            soft time limit), and kills it 10 s later; in every pool the claim is gone by then.
        queue: The Celery queue; None: where Celery routes the task.
        priority: As in Celery: on Redis 0 is the highest and 9 the lowest, on RabbitMQ the reverse.
        rate_limit: As in Celery, for each worker: ``"10/m"``.
        formerly: Names the stage had in older versions: runs that are due at one of them go on here.
    """

    retry: Retry = field(default_factory=Retry)
    timeout: Duration | None = None
    queue: str | None = None
    priority: int = 0
    rate_limit: str | None = None
    formerly: Sequence[str] = ()

    @property
    def timeout_seconds(self) -> float | None:
        """The timeout in seconds."""
        return None if self.timeout is None else seconds(self.timeout)


class Stage:
    """A function that takes a state, and a `Context` if it has a second parameter, and returns the next.

    Raises:
        Misconfigured: The function takes no state or more than state and context.
        InvalidName: Its name breaks the rule for names.
    """

    def __init__(self, name: str, function: StageFunction, options: StageOptions) -> None:
        self.name = valid_name(name, "stage name")
        self.function = function
        self.options = options
        self.timeout_seconds = options.timeout_seconds
        # A default binds something in a loop; it is a place for the context only if it is called so.
        parameters = [
            p
            for p in inspect.signature(function).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
            and (p.default is p.empty or p.name in ("ctx", "context"))
        ]
        if len(parameters) not in (1, 2):
            raise Misconfigured(
                f"Stage {name} takes {len(parameters)} arguments; expected the state, and "
                "optionally the context."
            )
        self.takes_context = len(parameters) == 2
        hints = typing.get_type_hints(function)
        self.input: TypeAdapter[Any] | None = _adapter(hints.get(parameters[0].name, Any))
        self.output: TypeAdapter[Any] | None = _adapter(hints.get("return", Any))
        self.takes_sets = may_hold_sets(self.input)
        """Whether its state may hold sets, whose order says nothing."""
        self._may_return_none = hints.get("return", Any) in (None, type(None))

    @property
    def shape(self) -> tuple[str, str]:
        """What it takes and gives, in words that are the same in every process."""
        return _shape(self.input), _shape(self.output)

    def call(self, state: Any, context: Context | None) -> Any:
        """Run the function to its end, a coroutine function in an event loop of its own.

        Raises:
            StateInvalid: It returned None, or something that is not what its annotation says.
        """
        arguments = (state, context) if self.takes_context else (state,)
        result = self.function(*arguments)
        if inspect.iscoroutine(result):
            result = _run(result)
        if result is None and not self._may_return_none:
            raise StateInvalid(
                f"Stage {self.name} returned None; expected the next state. Is a return missing?",
                stage=self.name,
                path="state",
            )
        return result if self.output is None else validated(result, self.output, self.name)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, in a thread where an event loop runs already (a notebook, a test)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


def validated(state: Any, adapter: TypeAdapter[Any], stage: str, run_id: str | None = None) -> Any:
    """Return *state* as the type of *adapter*.

    Raises:
        StateInvalid: It is not of that type; the first bad field is named.
    """
    try:
        # A model of the right class may have been changed since it was made: look at its fields.
        if isinstance(state, BaseModel):
            # Not dict(state): that first asks in vain for its keys, which takes longer than all the rest.
            content = state.root if isinstance(state, RootModel) else dict(iter(state))
            state = state.__class__.model_validate(content, by_alias=False, by_name=True)
        return adapter.validate_python(state)
    except ValidationError as error:
        raise state_invalid(error, stage, run_id) from error


def state_invalid(error: ValidationError, stage: str, run_id: str | None = None) -> StateInvalid:
    """Say which field of which stage's state *error* is about."""
    first, *others = error.errors(include_url=False, include_input=False)
    path = join("state", *first["loc"])
    more = f" (and {len(others)} more)" if others else ""
    return StateInvalid(
        f"The state is not what stage {stage} expects: {path}: {first['msg']}{more}.",
        stage=stage,
        path=path,
        run_id=run_id,
    )


def _shape(adapter: TypeAdapter[Any] | None) -> str:
    if adapter is None:
        return ""
    kind = adapter._type
    fields = getattr(kind, "model_fields", None) or getattr(kind, "__dataclass_fields__", {})
    shown = [
        f"{name}: {getattr(f, 'annotation', getattr(f, 'type', ''))}" for name, f in fields.items()
    ]
    return f"{getattr(kind, '__qualname__', kind)}({', '.join(shown)})"


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """None for states without a type of their own: those are plain JSON."""
    plain = hint is Any or hint is dict or hint is list or hint is None
    return None if plain or typing.get_origin(hint) in (dict, list) else TypeAdapter(hint)
