"""What every page of the dashboard goes through: session, scope, form's origin, errors, headers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from milepost.checkpointing import InvalidName, MilepostError, NotFound, Refused, Unavailable
from milepost.tasks import Conflict, Milepost, UnknownRun
from milepost.worker.fleet import Fleet

from ..api.keys import Scope
from .bulk_jobs import BulkJobs
from .doorkeeper import KeyDoor
from .protection import is_ours, protect, same
from .session import COOKIE, Doorkeeper, Sessions
from .text import FILTERS, visible
from .throttle import Throttle
from .visit import Form, Visit

Handler = Callable[[Visit], Response]
Endpoint = Callable[[Request], Awaitable[Response]]
logger = logging.getLogger("milepost.dashboard")
FORM_BYTES = 8 * 1024 * 1024
"""The longest form that is read of who has signed in."""
_STRANGERS_BYTES = 4 * 1024
_FORM_SECONDS = 30.0
_STATUS: tuple[tuple[tuple[type[Exception], ...], int, str], ...] = (
    ((UnknownRun, NotFound, InvalidName, LookupError), 404, "Not found"),
    ((Conflict,), 409, "Not now"),
    ((Unavailable, Refused), 503, "A store does not answer"),
    ((MilepostError,), 400, "That did not work"),
)


class FormRefused(Exception):
    """A form cannot be taken."""


class Site:
    """The dashboard of one application.

    Args:
        fleet: Reports on workers and queues; by default what `milepost.worker.fleet` finds.
        doorkeeper: Knows the keys that sign in; by default those in the run store.
        jobs: Does bulk commands; by default as many at once as the API does by default.
    """

    def __init__(
        self,
        app: Milepost,
        fleet: Fleet | None = None,
        doorkeeper: Doorkeeper | None = None,
        jobs: BulkJobs | None = None,
    ) -> None:
        self.app = app
        self.given_fleet = fleet
        self.sessions = Sessions(app, doorkeeper or KeyDoor(app))
        self.throttle = Throttle()
        self.jobs = jobs or BulkJobs(app)
        self.templates = Environment(
            loader=PackageLoader("milepost.control.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=visible,
        )
        self.templates.filters.update(FILTERS)

    def page(
        self, handler: Handler, needed: Scope = Scope.READ, *, whole: bool = False
    ) -> Endpoint:
        """Return the endpoint of a page for who has signed in with scope *needed*.

        Args:
            whole: It shows what is not any tenant's: for a key bound to one, there is no such page.
        """

        def serve(visit: Visit) -> Response:
            session = self.sessions.read(visit.request.cookies.get(COOKIE))
            if session is None:
                return visit.go("/sign-in", next=visit.here)
            visit = Visit(self, visit.request, session, visit.form)
            if not session.scope.covers(needed):
                return _problem(
                    visit,
                    403,
                    "Not allowed",
                    f"This needs a key with scope {needed}; yours has {session.scope}.",
                )
            if whole and session.tenant:
                return _problem(visit, 404, "Not found", "There is no such page.")
            if visit.request.method == "POST" and not same(
                visit.form.get("csrf", ""), session.csrf
            ):
                return _problem(
                    visit,
                    403,
                    "Not taken",
                    "The form was not made by this session. Open the page again and send it from there.",
                )
            return handler(visit)

        return self.endpoint(serve)

    def endpoint(self, handler: Handler) -> Endpoint:
        """Return the endpoint of a page for everybody."""

        def answer(request: Request, form: Form) -> Response:
            visit = Visit(self, request, form=form)
            try:
                return handler(visit)
            except Exception as error:  # noqa: BLE001 - whatever it is, a person gets a page
                return self._failed(visit, error)

        async def endpoint(request: Request) -> Response:
            form: Form = ImmutableMultiDict()
            try:
                if request.method == "POST":
                    if not is_ours(request):
                        raise FormRefused("The form was not sent from a page of this dashboard.")
                    known = await run_in_threadpool(self._is_known, request)
                    form = await _form(request, FORM_BYTES if known else _STRANGERS_BYTES)
            except FormRefused as error:
                return protect(_problem(Visit(self, request), 403, "Not taken", str(error)))
            return protect(await run_in_threadpool(answer, request, form))

        return endpoint

    def _failed(self, visit: Visit, error: Exception) -> Response:
        session = self._session(visit)
        visit = Visit(self, visit.request, session, visit.form)
        for kinds, status, title in _STATUS:
            if isinstance(error, kinds):
                return _problem(visit, status, title, str(error))
        logger.error("%s: %s", visit.request.url.path, error, exc_info=error)
        return _problem(
            visit, 500, "Something went wrong", "The log of this server says what; try again."
        )

    def _is_known(self, request: Request) -> bool:
        """Whether the cookie is one of ours; its key may be good no more."""
        try:
            return self.sessions.key_id(request.cookies.get(COOKIE)) is not None
        except MilepostError:
            return False

    def _session(self, visit: Visit) -> Any:
        try:
            return self.sessions.read(visit.request.cookies.get(COOKIE))
        except MilepostError:
            return None


async def _form(request: Request, most: int) -> Form:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise FormRefused("A form was expected (application/x-www-form-urlencoded).")
    body = bytearray()
    try:
        async with asyncio.timeout(_FORM_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise FormRefused(f"The form has more than {most:,} bytes.")
    except (TimeoutError, ClientDisconnect):
        raise FormRefused(f"The form did not come within {_FORM_SECONDS:.0f} s.") from None
    try:
        text = body.decode("ascii")
        pairs = await run_in_threadpool(
            parse_qsl, text, keep_blank_values=True, max_num_fields=2000
        )
    except ValueError:
        raise FormRefused("The form cannot be read.") from None
    return ImmutableMultiDict((name, value.replace("\r\n", "\n")) for name, value in pairs)


def _problem(visit: Visit, status: int, title: str, message: str) -> Response:
    return visit.page("problem.html", status, title=title, message=message)
