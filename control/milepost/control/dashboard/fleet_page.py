"""Workers and queues."""

from __future__ import annotations

from starlette.responses import Response

from milepost.worker.fleet import Fleet

from .visit import Visit

_HELD = 8


def fleet_page(visit: Visit) -> Response:
    """Show who works on what, and what waits."""
    fleet = fleet_of(visit)
    workers = fleet.workers()
    return visit.page(
        "fleet.html",
        workers=workers,
        queues=fleet.queues(workers),
        held=_HELD,
        holding=sum(len(worker.holding) for worker in workers),
        said=_SAID.get(visit.query.get("done", ""), ""),
    )


def drain_worker(visit: Visit) -> Response:
    """Ask a worker to take nothing more and to leave."""
    assert visit.session is not None
    fleet_of(visit).drain(visit.form.get("name", ""), visit.session.name)
    return visit.go("/fleet", done="drain")


def pause_queue(visit: Visit) -> Response:
    """Stop taking messages from a queue."""
    assert visit.session is not None
    fleet_of(visit).pause_queue(visit.form.get("name", ""), visit.session.name)
    return visit.go("/fleet", done="pause-queue")


def resume_queue(visit: Visit) -> Response:
    """Take messages from a queue again."""
    assert visit.session is not None
    fleet_of(visit).resume_queue(visit.form.get("name", ""), visit.session.name)
    return visit.go("/fleet", done="resume-queue")


def fleet_of(visit: Visit) -> Fleet:
    """Return what reports on workers and queues."""
    return visit.site.given_fleet or Fleet(visit.app)


_SAID = {
    "drain": "The worker was asked to take nothing more and to leave when it is done.",
    "pause-queue": "Paused: workers take nothing more from that queue.",
    "resume-queue": "Resumed: workers take from that queue again.",
}
