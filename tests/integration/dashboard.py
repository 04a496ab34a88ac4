"""What the dashboard's tests share: a site on Redis, and visitors with keys of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from milepost.control.api.keys import Scope
from milepost.tasks import Milepost
from support.dashboard_scene import StubFleet, StubQueue, StubWorker, build
from support.dashboard_site import DashboardSite
from support.dashboard_visitor import Visitor


class Dashboard:
    """A site, its application and its fleet."""

    def __init__(self, app: Milepost, fleet: StubFleet, site: DashboardSite) -> None:
        self.app = app
        self.fleet = fleet
        self.site = site
        self.stack = ExitStack()

    def visitor(self, scope: Scope = Scope.OPERATE, **options: Any) -> Visitor:
        """Return who has signed in with a fresh key."""
        key = self.site.key(scope, **options)
        return self.stack.enter_context(Visitor(self.site, key))

    def stranger(self) -> Visitor:
        """Return who has not signed in."""
        return self.stack.enter_context(Visitor(self.site, None))


@contextmanager
def dashboard_on(url: str, **stores: str) -> Iterator[Dashboard]:
    """Serve a dashboard of the scene's application on the run store at *url*."""
    app = build(url, **stores)
    fleet = StubFleet(
        [StubWorker("alpha@w1", "w1", 41, holding=("held-run",))],
        [StubQueue("milepost", 12, 4.2), StubQueue("heavy")],
    )
    try:
        with DashboardSite(app, fleet) as site:
            board = Dashboard(app, fleet, site)
            with board.stack:
                yield board
    finally:
        app.close()
        app.celery.close()
