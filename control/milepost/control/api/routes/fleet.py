"""Workers and queues."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from ..arguments import Admin, FleetReader
from ..fleet import open_fleet
from ..fleet_documents import QueueDocument, Queues, WorkerDocument, Workers
from ..problems import NOT_FOUND, Problem
from ..responses import answer
from ..route import ApiRoute
from ..site import Here, Site

router = APIRouter(route_class=ApiRoute, tags=["fleet"])


@router.get("/v1/workers", operation_id="listWorkers", response_model=Workers)
async def list_workers(identity: FleetReader, site: Here) -> Response:
    """List workers, what they run and whether they are heard of."""

    def read() -> Workers:
        found = open_fleet(site.app).workers()
        return Workers(items=tuple(WorkerDocument.model_validate(each) for each in found))

    return answer(await site.call(read))


@router.post("/v1/workers/{name}/drain", operation_id="drainWorker", status_code=204)
async def drain_worker(name: str, identity: Admin, site: Here) -> Response:
    """Let a worker take no more, finish or hand back what it runs, and leave."""

    def drain() -> None:
        fleet = open_fleet(site.app)
        if name not in {worker.name for worker in fleet.workers()}:
            raise Problem(NOT_FOUND, f"There is no worker {name[:128]}.")
        fleet.drain(name)

    await site.call(drain)
    return Response(status_code=204)


@router.get("/v1/queues", operation_id="listQueues", response_model=Queues)
async def list_queues(identity: FleetReader, site: Here) -> Response:
    """List the queues of stages, and how much waits there for how long."""

    def read() -> Queues:
        found = open_fleet(site.app).queues()
        return Queues(items=tuple(QueueDocument.model_validate(each) for each in found))

    return answer(await site.call(read))


@router.post("/v1/queues/{name}/pause", operation_id="pauseQueue", status_code=204)
async def pause_queue(name: str, identity: Admin, site: Here) -> Response:
    """Let no worker take from a queue until it is resumed."""
    await site.call(_switch, site, name, identity.name, "pause_queue")
    return Response(status_code=204)


@router.post("/v1/queues/{name}/resume", operation_id="resumeQueue", status_code=204)
async def resume_queue(name: str, identity: Admin, site: Here) -> Response:
    """Let workers take from a queue again."""
    await site.call(_switch, site, name, identity.name, "resume_queue")
    return Response(status_code=204)


def _switch(site: Site, name: str, by: str, command: str) -> None:
    fleet = open_fleet(site.app)
    if name not in {queue.name for queue in fleet.queues()}:
        raise Problem(NOT_FOUND, f"There is no queue {name[:128]}.")
    getattr(fleet, command)(name, by)
