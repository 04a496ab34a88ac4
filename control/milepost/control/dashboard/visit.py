"""One request to the dashboard: who asks, for what, and how it is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.datastructures import ImmutableMultiDict, QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from milepost.checkpointing.ids import valid_name
from milepost.tasks import Head, Milepost, UnknownRun
from milepost.tasks.lifecycle import Lifecycle

from ..api.keys import Scope
from .session import Session

if TYPE_CHECKING:
    from .site import Site

Form = ImmutableMultiDict[str, str]
THEME_COOKIE = "milepost_theme"


@dataclass(frozen=True)
class Visit:
    """What a page is made from. *session* is None only where nobody has to be signed in."""

    site: Site
    request: Request
    session: Session | None = None
    form: Form = field(default_factory=lambda: ImmutableMultiDict[str, str]())

    @property
    def app(self) -> Milepost:
        """The application that is looked at."""
        return self.site.app

    @property
    def query(self) -> QueryParams:
        """What stands behind the question mark."""
        return self.request.query_params

    @property
    def tenant(self) -> str | None:
        """The only tenant whose runs are shown; None: all runs are."""
        return (self.session.tenant or None) if self.session else None

    @property
    def lifecycle(self) -> Lifecycle:
        """Commands, in the name of who has signed in."""
        assert self.session is not None
        return self.app.lifecycle.on_behalf_of(self.session.name)

    def may(self, scope: str) -> bool:
        """Whether who has signed in has this scope."""
        return self.session is not None and self.session.scope.covers(Scope(scope))

    def path(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])

    def head(self) -> Head:
        """Return the head of the run that the path names.

        Raises:
            UnknownRun: There is none, or it is another tenant's.
        """
        return self.head_of(self.path("run_id"))

    def head_of(self, run_id: str) -> Head:
        """Do what `head` does, for a run of this id."""
        head = self.app.runs.get(valid_name(run_id))
        if head is None or self.tenant not in (None, head.tenant):
            raise UnknownRun(f"There is no run {run_id}.", run_id=run_id)
        return head

    def page(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        """Answer with a page."""
        theme = self.request.cookies.get(THEME_COOKIE, "")
        text = self.site.templates.get_template(template).render(
            visit=self,
            who=self.session,
            csrf=self.session.csrf if self.session else "",
            theme=theme if theme in ("light", "dark") else "",
            here=self.here,
            done=self.query.get("done", ""),
            **context,
        )
        return HTMLResponse(text, status)

    def go(self, path: str, **query: str) -> RedirectResponse:
        """Answer by sending the browser on."""
        query = {name: value for name, value in query.items() if value}
        return RedirectResponse(f"{path}?{urlencode(query)}" if query else path, 303)

    @property
    def here(self) -> str:
        """Path and query of this page, to come back to; of a form, the dashboard's beginning."""
        if self.request.method != "GET":
            return "/runs"
        query = self.request.url.query
        return f"{self.request.url.path}?{query}" if query else self.request.url.path


def inside(path: str) -> str:
    """Return a path of this dashboard unchanged, and its beginning instead of anything else."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if safe and "\\" not in path else "/runs"
