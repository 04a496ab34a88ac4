"""The dashboard's addresses."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ..api.keys import Scope
from .bulk_page import begin_bulk, bulk_job_page, bulk_page, stop_bulk
from .checkpoint_page import checkpoint_file, checkpoint_page
from .commands_page import command_page, do_command
from .doorkeeper import Host, IdentityDoor
from .failures_page import failure_page, failures_page
from .fleet_page import drain_worker, fleet_page, pause_queue, resume_queue
from .protection import protect
from .run_page import run_page
from .runs_page import runs_page
from .sign_in import choose_theme, sign_in, sign_in_page, sign_out, signed_in
from .site import Site
from .start_page import start_page, start_run
from .static_files import StaticFiles
from .storage_page import storage_page


def router(host: Host) -> APIRouter:
    """Return the pages of the application that *host* serves, for whom it knows."""
    return routes(Site(host.app, doorkeeper=IdentityDoor(host.identities), jobs=host.jobs))


def routes(site: Site) -> APIRouter:
    """Return the pages of a site, to be mounted at the root; none is part of the OpenAPI description."""
    static = StaticFiles.load()
    site.templates.globals["version"] = static.version
    router = APIRouter(include_in_schema=False)

    async def home(request: Request) -> Response:
        return protect(RedirectResponse("/runs", 303))

    operate, admin = Scope.OPERATE, Scope.ADMIN
    pages = (
        ("/sign-in", site.endpoint(sign_in_page), site.endpoint(sign_in)),
        ("/signed-in", site.endpoint(signed_in), None),
        ("/sign-out", None, site.page(sign_out)),
        ("/theme", None, site.endpoint(choose_theme)),
        ("/runs", site.page(runs_page), None),
        ("/runs/{run_id}", site.page(run_page), None),
        ("/runs/{run_id}/checkpoints/{checkpoint_id}", site.page(checkpoint_page), None),
        ("/runs/{run_id}/checkpoints/{checkpoint_id}/file", site.page(checkpoint_file), None),
        (
            "/runs/{run_id}/do/{command}",
            site.page(command_page, operate),
            site.page(do_command, operate),
        ),
        ("/start", site.page(start_page, operate), site.page(start_run, operate)),
        ("/bulk", site.page(bulk_page, operate), site.page(begin_bulk, operate)),
        ("/bulk/{job_id}", site.page(bulk_job_page), None),
        ("/bulk/{job_id}/stop", None, site.page(stop_bulk, operate)),
        ("/failures", site.page(failures_page), None),
        ("/failures/{group}", site.page(failure_page), None),
        ("/fleet", site.page(fleet_page, whole=True), None),
        ("/fleet/drain", None, site.page(drain_worker, admin, whole=True)),
        ("/fleet/pause", None, site.page(pause_queue, admin, whole=True)),
        ("/fleet/resume", None, site.page(resume_queue, admin, whole=True)),
        ("/storage", site.page(storage_page, whole=True), None),
    )
    router.add_route("/", home, methods=["GET"], include_in_schema=False)
    router.add_route(
        "/dashboard/{version}/{name}", static.answer, methods=["GET"], include_in_schema=False
    )
    for path, get, post in pages:
        if get is not None:
            router.add_route(path, get, methods=["GET"], include_in_schema=False)
        if post is not None:
            router.add_route(path, post, methods=["POST"], include_in_schema=False)
    return router
