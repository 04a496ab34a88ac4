"""What is wrong with pipelines as they are defined, before any run has met it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from .routing import Routing

if TYPE_CHECKING:
    from .app import Milepost
    from .pipeline import Pipeline

_PLAIN = (int, float, str, bool, bytes, list, tuple)


def problems(app: Milepost, queues: Collection[str] = ()) -> Iterator[str]:
    """Yield a sentence for each thing that cannot work.

    Args:
        queues: All that workers take from; without it queues are judged only where Celery makes none by
            itself (``task_create_missing_queues``).
    """
    if not app.versions:
        yield "No pipeline is defined."
    for versions in app.versions.values():
        for pipeline in versions.known:
            if not pipeline.stages:
                yield f"Pipeline {pipeline.name} {pipeline.version} has no stages."
            yield from _unfit(pipeline)
            yield from _unserved(app, pipeline, queues)


def _unfit(pipeline: Pipeline) -> Iterator[str]:
    stages = [*pipeline.stages.values()]
    for giver, taker in pairwise(stages):
        if giver.output is None or taker.input is None:
            continue
        what = _mismatch(giver.output, taker.input)
        if what:
            yield (
                f"Pipeline {pipeline.name} {pipeline.version}: stage {taker.name} {what}, which stage "
                f"{giver.name} before it does not give."
            )


def _mismatch(given: TypeAdapter[Any], taken: TypeAdapter[Any]) -> str:
    """Say what a stage takes that the one before does not give; empty if nothing is known to be missing."""
    giver, taker = given._type, taken._type
    if giver is taker or not (isinstance(taker, type) and issubclass(taker, BaseModel)):
        return ""
    if giver in _PLAIN:
        return "" if taker.__pydantic_root_model__ else f"takes a {taker.__name__}"
    if not (isinstance(giver, type) and issubclass(giver, BaseModel)):
        return ""
    if giver.__pydantic_root_model__ or taker.__pydantic_root_model__:
        return ""
    if giver.model_config.get("extra") == "allow":
        return ""
    # States are written under the names of fields, and read by those and by aliases.
    missing = [
        name
        for name, field in taker.model_fields.items()
        if field.is_required() and not _names(name, field) & giver.model_fields.keys()
    ]
    return f"needs {', '.join(missing)}" if missing else ""


def _names(name: str, field: FieldInfo) -> set[str]:
    aliases = (field.alias, field.validation_alias)
    return {name, *(alias for alias in aliases if isinstance(alias, str))}


def _unserved(app: Milepost, pipeline: Pipeline, queues: Collection[str]) -> Iterator[str]:
    # Not the runtime's, which opens stores: definitions are checked where there are none.
    routing = Routing(app.celery)
    makes_queues = app.celery.conf.task_create_missing_queues
    known = {*app.celery.amqp.queues.keys()}
    for stage in pipeline.stages.values():
        queue = routing.next(pipeline.name, stage).queue
        where = f"Stage {pipeline.name}.{stage.name} goes to queue {queue}"
        if queues and queue not in queues:
            yield f"{where}, from which nobody takes; there are: {', '.join(sorted(queues))}."
        elif not makes_queues and queue not in known:
            yield f"{where}, which Celery does not know and is not to make; add it to task_queues."
