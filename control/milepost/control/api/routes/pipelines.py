"""Pipelines, and starting runs of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from pydantic import PydanticInvalidForJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from milepost.checkpointing import MilepostError, Misconfigured
from milepost.tasks import Head, Pipeline, UnknownRun
from milepost.tasks.order import Order, ordered, ordered_all
from milepost.tasks.order import StartOptions as LibraryOptions

from ..arguments import IdempotencyKey, Operator, PathName, Reader
from ..bodies import Start, StartBatch, StartOptions
from ..documents import (
    Batch,
    PipelineDocument,
    Pipelines,
    RunDocument,
    StageDocument,
    StartedRun,
)
from ..glances import Glance
from ..identity import Identity
from ..problems import FORBIDDEN, Kind, Problem
from ..responses import answer, run_answer
from ..route import ApiRoute
from ..site import Here, Site

router = APIRouter(route_class=ApiRoute, tags=["pipelines"])
NO_PIPELINE = Kind("unknown-pipeline", 404, "No such pipeline here")


@router.get("/v1/pipelines", operation_id="listPipelines", response_model=Pipelines)
async def list_pipelines(identity: Reader, site: Here) -> Response:
    """List the pipelines that can be started here, with the schema of what they take."""
    known = await site.call(lambda: tuple(_described(p) for p in site.app.pipelines.values()))
    return answer(Pipelines(items=known))


@router.post(
    "/v1/pipelines/{name}/runs",
    operation_id="startRun",
    response_model=RunDocument,
    status_code=201,
    responses={200: {"model": RunDocument, "description": "It was started before."}},
)
async def start_run(
    name: PathName,
    start: Start,
    identity: Operator,
    site: Here,
    request: Request,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Start a run: 201 if it is new, 200 if the same was started before."""
    if start.run_id is not None and idempotency_key is not None:
        raise Misconfigured("A start takes a run_id or an Idempotency-Key, not both.")

    def do() -> tuple[bool, Glance]:
        pipeline, options = _pipeline(site, name), _options(start, identity)
        run_id = start.run_id
        if idempotency_key is not None:
            run_id = derived(options.get("tenant"), name, idempotency_key)
        order = ordered(pipeline, start.state, run_id, options)
        stood = _started(site, identity, pipeline, [order])[0]
        if isinstance(stood, MilepostError):
            raise stood
        head = site.app.runs.get(order.run_id)
        if head is None:
            raise UnknownRun(f"Run {order.run_id} was deleted at once.", run_id=order.run_id)
        return stood is None, Glance.at(head)

    new, glance = await site.call(do)
    where = {"Location": f"/v1/runs/{glance.head.run_id}"}
    return run_answer(request, glance, 201 if new else 200, where)


@router.post("/v1/pipelines/{name}/runs:batch", operation_id="startRuns", response_model=Batch)
async def start_runs(
    name: PathName,
    batch: StartBatch,
    identity: Operator,
    site: Here,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Start up to a thousand runs at once.

    All states are looked at before the first run is made: if one cannot be used, none is started.
    """
    entries = batch.runs
    names = [entry.run_id for entry in entries if entry.run_id is not None]
    if len({*names}) < len(names):
        raise Misconfigured("A run id is there twice.")
    if idempotency_key is not None and names:
        raise Misconfigured("A batch takes run ids or an Idempotency-Key, not both.")

    def do() -> Batch:
        pipeline, options = _pipeline(site, name), _options(batch, identity)
        run_ids = [entry.run_id for entry in entries]
        if idempotency_key is not None:
            run_ids = [
                derived(options.get("tenant"), name, f"{idempotency_key}\n{at}")
                for at in range(len(entries))
            ]
        orders = ordered_all(pipeline, [entry.state for entry in entries], run_ids, options)
        outcomes = _started(site, identity, pipeline, orders)
        return Batch(runs=tuple(_outcome(o, out) for o, out in zip(orders, outcomes, strict=True)))

    return answer(await site.call(do))


def derived(tenant: str | None, pipeline: str, key: str) -> str:
    """Return the run id that an idempotency key stands for: another for each tenant and pipeline."""
    text = json.dumps([tenant or "", pipeline, key])
    return f"key-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _started(
    site: Site, identity: Identity, pipeline: Pipeline, orders: list[Order]
) -> Sequence[Head | MilepostError | None]:
    return site.app.lifecycle.on_behalf_of(identity.name).start_many(pipeline, orders)


def _pipeline(site: Site, name: str) -> Pipeline:
    pipeline = site.app.pipelines.get(name)
    if pipeline is None:
        known = ", ".join(site.app.pipelines) or "none"
        raise Problem(NO_PIPELINE, f"No pipeline {name} is defined here; known: {known}.")
    return pipeline


def _options(asked: StartOptions, identity: Identity) -> LibraryOptions:
    if identity.tenant and asked.tenant not in (None, identity.tenant):
        raise Problem(
            FORBIDDEN, f"The key is bound to tenant {identity.tenant}: it starts runs for it alone."
        )
    return {
        "tags": asked.tags,
        "delay": asked.delay,
        "at": asked.at,
        "budget": asked.budget,
        "priority": asked.priority,
        "tenant": identity.tenant or asked.tenant,
    }


def _outcome(order: Order, outcome: Head | MilepostError | None) -> StartedRun:
    if isinstance(outcome, MilepostError):
        return StartedRun(run_id=order.run_id, outcome="refused", error=str(outcome))
    made = "created" if outcome is None else "existing"
    return StartedRun(run_id=order.run_id, outcome="created" if made == "created" else "existing")


def _described(pipeline: Pipeline) -> PipelineDocument:
    stages = tuple(
        StageDocument(
            name=stage.name,
            queue=stage.options.queue,
            timeout_seconds=stage.timeout_seconds,
            attempts=stage.options.retry.attempts,
        )
        for stage in pipeline.stages.values()
    )
    schema: dict[str, Any] | None = None
    if pipeline.stages and pipeline.first.input is not None:
        try:
            schema = pipeline.first.input.json_schema()
        except PydanticInvalidForJsonSchema:
            schema = None
    return PipelineDocument(
        name=pipeline.name, version=pipeline.version, stages=stages, state=schema
    )
