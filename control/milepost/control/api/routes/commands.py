"""Commands on one run; each is noted under the name of the key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from milepost.tasks import Command, UnknownRun
from milepost.tasks.lifecycle import Lifecycle

from ..arguments import IfMatch, Operator, RunId
from ..bodies import Edit, Fork, Rewind, TopUp
from ..documents import RunDocument
from ..glances import Glance
from ..identity import Identity
from ..responses import run_answer
from ..route import ApiRoute
from ..site import Here, Site

router = APIRouter(route_class=ApiRoute, tags=["commands"])
Do = Callable[[Lifecycle], object]


def _command(name: str) -> dict[str, Any]:
    return {"operation_id": f"{name}Run", "response_model": RunDocument}


async def _done(
    site: Site, request: Request, run_id: str, identity: Identity, if_match: str | None, do: Do
) -> Response:
    def work() -> Glance:
        head = site.command(run_id, identity, if_match, do)
        if head is None:
            raise UnknownRun(f"Run {run_id} was deleted meanwhile.", run_id=run_id)
        return Glance.at(head)

    return run_answer(request, await site.call(work))


_PLAIN = {
    Command.RETRY: "Let a failed run go on at the stage that failed, or a scheduled one now.",
    Command.RESUME: "Let a paused run go on.",
    Command.PAUSE: "Stop a run before its next stage; a stage that runs is let finish.",
    Command.CANCEL: "End a run; a stage in flight learns of it, and its result is refused.",
    Command.SKIP: "Go on behind the stage due, with the state it would have got.",
}
"""Commands that take nothing but the run, and what each does."""


def _plain(command: Command) -> Callable[..., Awaitable[Response]]:
    async def endpoint(
        run_id: RunId, identity: Operator, site: Here, request: Request, if_match: IfMatch = None
    ) -> Response:
        def do(lifecycle: Lifecycle) -> None:
            getattr(lifecycle, command)(run_id)

        return await _done(site, request, run_id, identity, if_match, do)

    return endpoint


for _each, _does in _PLAIN.items():
    router.add_api_route(
        f"/v1/runs/{{run_id}}/{_each}",
        _plain(_each),
        methods=["POST"],
        summary=f"{_each} run".title(),
        description=_does,
        **_command(_each),
    )


@router.post("/v1/runs/{run_id}/rewind", **_command("rewind"))
async def rewind_run(
    run_id: RunId,
    rewind: Rewind,
    identity: Operator,
    site: Here,
    request: Request,
    if_match: IfMatch = None,
) -> Response:
    """Go on from before a stage or from a commit, with the state the run had there.

    What came after is left behind.
    """

    def do(lifecycle: Lifecycle) -> None:
        lifecycle.rewind(run_id, rewind.stage, checkpoint_id=rewind.checkpoint_id)

    return await _done(site, request, run_id, identity, if_match, do)


@router.post("/v1/runs/{run_id}/edit", **_command("edit"))
async def edit_run(
    run_id: RunId,
    edit: Edit,
    identity: Operator,
    site: Here,
    request: Request,
    if_match: IfMatch = None,
) -> Response:
    """Replace or patch the state that the stage due gets; it is validated before anything is written."""

    def do(lifecycle: Lifecycle) -> None:
        lifecycle.edit(run_id, edit.state, patch=edit.patch)

    return await _done(site, request, run_id, identity, if_match, do)


@router.post("/v1/runs/{run_id}/top-up", **_command("topUp"))
async def top_up_run(
    run_id: RunId,
    more: TopUp,
    identity: Operator,
    site: Here,
    request: Request,
    if_match: IfMatch = None,
) -> Response:
    """Raise limits of a run's budget; a run that was paused for them is then to be resumed."""

    def do(lifecycle: Lifecycle) -> None:
        lifecycle.top_up(run_id, more.amounts)

    return await _done(site, request, run_id, identity, if_match, do)


@router.post(
    "/v1/runs/{run_id}/fork",
    operation_id="forkRun",
    response_model=RunDocument,
    status_code=201,
)
async def fork_run(
    run_id: RunId,
    fork: Fork,
    identity: Operator,
    site: Here,
    request: Request,
    if_match: IfMatch = None,
) -> Response:
    """Start another run from what this one had before a stage."""

    def work() -> Glance:
        lifecycle = site.lifecycle(run_id, identity, if_match)
        new = lifecycle.fork(run_id, fork.stage, as_run=fork.run_id)
        return Glance.at(site.head(new, identity))

    new = await site.call(work)
    return run_answer(request, new, 201, {"Location": f"/v1/runs/{new.head.run_id}"})


@router.delete("/v1/runs/{run_id}", operation_id="deleteRun", status_code=204)
async def delete_run(
    run_id: RunId, identity: Operator, site: Here, if_match: IfMatch = None
) -> Response:
    """Forget a run that has ended or is paused, with its checkpoints."""
    await site.call(
        site.command, run_id, identity, if_match, lambda lifecycle: lifecycle.delete(run_id)
    )
    return Response(status_code=204)
