"""Commands on all runs that a query finds."""

from __future__ import annotations

import asyncio
import threading
import time

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from milepost.tasks import Bulk as Commands
from milepost.tasks import Summary

from ..arguments import Operator
from ..bodies import Bulk
from ..documents import BulkDocument
from ..responses import answer
from ..route import ApiRoute
from ..site import Here

_GLANCE_SECONDS = 0.2
router = APIRouter(route_class=ApiRoute, tags=["commands"])


class _TimeIsUp(Exception):
    """Ends a bulk command between two runs."""


@router.post("/v1/bulk", operation_id="commandRuns", response_model=BulkDocument)
async def command_runs(bulk: Bulk, identity: Operator, site: Here, request: Request) -> Response:
    """Do a command on every run that a query finds and whose status allows it, youngest first.

    When time is up, or the server ends, it answers with what it has done; the same request again does the
    rest. If the client goes away, it ends, too.
    """
    command, arguments = bulk.asked()
    query = bulk.query.query(identity.tenant)
    gone = threading.Event()
    end = time.monotonic() + site.settings.api_bulk_seconds
    last = Summary(command, dry_run=bulk.dry_run)

    def watch(summary: Summary) -> None:
        nonlocal last
        last = summary
        go_on()

    def go_on() -> None:
        if gone.is_set() or site.closing.is_set() or time.monotonic() > end:
            raise _TimeIsUp

    def rest(seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            go_on()
            time.sleep(min(left, _GLANCE_SECONDS))

    def work() -> BulkDocument:
        commands = Commands(site.app.runs, site.app.lifecycle.on_behalf_of(identity.name))
        try:
            summary = commands.apply(
                command,
                query,
                arguments=arguments,
                dry_run=bulk.dry_run,
                every_run=bulk.yes,
                rate_per_second=bulk.rate_per_second,
                limit=bulk.limit,
                watch=watch,
                rest=rest,
            )
        except _TimeIsUp:
            return BulkDocument.of(last, complete=False)
        return BulkDocument.of(summary, complete=True)

    async def listen() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            continue
        gone.set()

    with site.bulk_places.taken(identity):
        listening = asyncio.create_task(listen())
        try:
            return answer(await site.call_long(work))
        finally:
            gone.set()
            listening.cancel()
