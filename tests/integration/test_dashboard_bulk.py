"""Commands on many runs from the dashboard: what is confirmed, how many go on at once, and how they end."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from integration.api_site import counting_app
from integration.dashboard import Dashboard
from integration.test_dashboard_commands import head, started
from milepost.control.api.keys import Scope
from milepost.control.api.places import Places
from milepost.control.dashboard.bulk_jobs import BulkJobs
from milepost.tasks import Milepost, RunStatus
from support.api_server import ApiServer
from support.dashboard_visitor import Visitor
from support.waiting import eventually

PAUSE = "/bulk?command=pause&pipeline=invoices"


def ends(visitor: Visitor, job: str, how: str = "Done.") -> None:
    """Wait until a job's page says that it has ended, and how."""
    eventually(lambda: how in visitor.text(job), 10, "the end of the bulk command")


def statuses(board: Dashboard, number: int) -> list[RunStatus]:
    return [head(board, f"r{n}").status for n in range(number)]


def queue(board: Dashboard, number: int) -> None:
    for n in range(number):
        started(board, f"r{n}")


def test_every_run_is_meant_only_if_somebody_says_so(board: Dashboard) -> None:
    queue(board, 3)
    visitor = board.visitor()
    assert "Type <b>every run</b>" in visitor.text("/bulk?command=cancel")
    form = visitor.form("/bulk?command=cancel", to="/bulk")

    assert visitor.post("/bulk", **form, typed="3").status_code == 422
    assert head(board, "r0").status is RunStatus.QUEUED
    job = visitor.post("/bulk", **form, typed="Every run").headers["location"]

    ends(visitor, job)
    assert head(board, "r2").status is RunStatus.CANCELLED


def test_a_set_that_has_grown_asks_again(board: Dashboard) -> None:
    queue(board, 2)
    visitor = board.visitor()
    form = visitor.form(PAUSE, to="/bulk")
    started(board, "r2")

    refused = visitor.post("/bulk", **form, typed="2")

    assert refused.status_code == 409
    assert "There were 2 of them when you looked, and there are 3 now." in refused.text
    assert 'name="typed" value=""' in refused.text
    assert statuses(board, 3) == [RunStatus.QUEUED] * 3
    again = visitor.form(PAUSE, to="/bulk")
    ends(visitor, visitor.post("/bulk", **again, typed="3").headers["location"])
    assert statuses(board, 3) == [RunStatus.PAUSED] * 3


def test_a_set_that_has_shrunk_is_done(board: Dashboard) -> None:
    """Nobody is met who was not counted."""
    queue(board, 3)
    visitor = board.visitor()
    form = visitor.form(PAUSE, to="/bulk")
    board.app.lifecycle.cancel("r0")

    ends(visitor, visitor.post("/bulk", **form, typed="3").headers["location"])

    assert statuses(board, 3) == [RunStatus.CANCELLED, RunStatus.PAUSED, RunStatus.PAUSED]


def test_only_the_server_counts(board: Dashboard) -> None:
    """A form that was made up, changed, made for something else or for somebody else confirms nothing."""
    queue(board, 3)
    visitor, other = board.visitor(), board.visitor(name="bob")
    form = visitor.form(PAUSE, to="/bulk")
    chosen = visitor.form(f"{PAUSE}&which=chosen&run=r0", to="/bulk")
    (seal,) = form["seal"]

    wrong = [
        form | {"seal": []},
        form | {"count": ["3"], "seal": [""]},
        form | {"seal": [f"2.{seal.partition('.')[2]}"]},
        form | {"seal": ["x" + seal]},
        form | {"seal": ["٣" + seal[1:]]},
        form | {"command": ["cancel"]},
        form | {"status": ["queued"]},
        form | {"pipeline": []},
        chosen | {"run": ["r1"]},
        chosen | {"run": ["r0", "r1"]},
        form | {"seal": chosen["seal"]},
        form | {"seal": other.form(PAUSE, to="/bulk")["seal"]},
    ]
    for given in wrong:
        for typed in ("3", "2", "1", "every run"):
            answer = visitor.post("/bulk", **given, typed=typed)
            assert answer.status_code == 422, (given, typed)
            assert "Look at what is meant" in answer.text

    assert statuses(board, 3) == [RunStatus.QUEUED] * 3


def test_chosen_runs_are_done_and_others_left_alone(board: Dashboard) -> None:
    started(board, "a", "odd", 20)
    started(board, "b")
    started(board, "c", "odd", 20)
    visitor = board.visitor()
    path = "/bulk?command=retry&which=chosen&run=a&run=b"
    confirm = visitor.text(path)
    assert "Retry 1 run" in confirm
    assert "1 of those chosen will be left alone" in confirm

    job = visitor.post("/bulk", **visitor.form(path, to="/bulk")).headers["location"]

    ends(visitor, job)
    assert head(board, "a").status is RunStatus.QUEUED
    assert head(board, "c").status is RunStatus.FAILED


@pytest.mark.parametrize("rate", ["0.01", "-1", "fast", "1e9", "nan"])
def test_a_bad_rate_is_refused(board: Dashboard, rate: str) -> None:
    started(board, "a")
    visitor = board.visitor()
    form = visitor.form("/bulk?command=cancel&which=chosen&run=a", to="/bulk")

    answer = visitor.post("/bulk", **form, rate=rate)

    assert answer.status_code == 422
    assert "Expected runs per second" in answer.text
    assert head(board, "a").status is RunStatus.QUEUED


@contextmanager
def slowly(visitor: Visitor, path: str, typed: str, rate: str = "0.5") -> Iterator[str]:
    """Begin a command that takes its time; afterwards it is stopped."""
    answer = visitor.post("/bulk", **visitor.form(path, to="/bulk"), typed=typed, rate=rate)
    assert answer.status_code == 303, answer.text
    job = answer.headers["location"]
    try:
        yield job
    finally:
        visitor.post(f"{job}/stop")
        ends(visitor, job, "Stopped by")


@pytest.mark.parametrize("chosen", ["", "&which=chosen&run=r0&run=r1&run=r2&run=r3"])
def test_a_job_is_stopped(board: Dashboard, chosen: str) -> None:
    """By whoever may command runs; what is done stands."""
    queue(board, 4)
    visitor, bob, reader = board.visitor(), board.visitor(name="bob"), board.visitor(Scope.READ)
    with slowly(visitor, PAUSE + chosen, "4", rate="0.1") as job:
        eventually(lambda: statuses(board, 4).count(RunStatus.PAUSED) == 1, 10, "the first")
        assert "Stop</button>" in visitor.text(job)
        assert "Stop</button>" not in reader.text(job)
        began = time.monotonic()

        assert bob.post(f"{job}/stop").headers["location"] == job

        ends(visitor, job, "Stopped by bob.")
        # The next one would have been due in ten.
        assert time.monotonic() - began < 9
    assert statuses(board, 4).count(RunStatus.PAUSED) == 1
    assert board.app.runs.kept("bulk-stop") == {}


def test_another_tenants_job_is_no_job(board: Dashboard) -> None:
    queue(board, 2)
    red = board.visitor(tenant="red")
    with slowly(board.visitor(), PAUSE, "2", rate="0.1") as job:
        assert red.get(job).status_code == 404
        assert red.post(f"{job}/stop").status_code == 404
        assert board.app.runs.kept("bulk-stop") == {}


def test_so_many_go_on_at_once(board: Dashboard) -> None:
    """Of one key, and of all; when one has ended there is a place again."""
    queue(board, 4)
    board.site.site.jobs = BulkJobs(board.app, Places("bulk commands", 1, 2))
    ann, bob, eve = (board.visitor(name=name) for name in ("ann", "bob", "eve"))
    with slowly(ann, PAUSE, "4", rate="0.1"):
        form = ann.form("/bulk?command=cancel", to="/bulk")
        refused = ann.post("/bulk", **form, typed="every run")
        assert refused.status_code == 429
        assert "The key ann has as many bulk commands as it may at once: 1." in refused.text
        assert refused.headers["retry-after"] == "2"
        with slowly(bob, "/bulk?command=pause", "every run", rate="0.1"):
            full = eve.post(
                "/bulk", **eve.form("/bulk?command=cancel", to="/bulk"), typed="every run"
            )
            assert full.status_code == 503
            assert "There are as many bulk commands as may be at once: 2." in full.text
    assert RunStatus.CANCELLED not in statuses(board, 4)

    ends(ann, ann.post("/bulk", **form, typed="every run").headers["location"])


@pytest.fixture
def app(redis_url: str) -> Iterator[Milepost]:
    app = counting_app(redis_url)
    yield app
    app.close()


def test_jobs_and_requests_end_with_their_server(app: Milepost) -> None:
    """They have as many places together as a key may have, and tell how far they have come."""
    app.pipelines["counting"].start_many([{"n": n} for n in range(6)])
    with ApiServer(app, api_bulk_jobs_per_key=2) as server:
        key = server.key()
        with httpx.Client(base_url=server.url, headers={"Origin": server.url}) as browser:
            browser.post("/sign-in", data={"key": key})
            page = browser.get("/bulk?command=pause&pipeline=counting").text
            form = dict(re.findall(r'name="(csrf|seal)" value="([^"]+)"', page))
            form |= {"command": "pause", "pipeline": "counting", "typed": "6", "rate": "0.5"}
            job = browser.post("/bulk", data=form).headers["location"]
            for _ in range(2):
                last = browser.post("/bulk", data=form)
        assert last.status_code == 429
        with server.http(key) as http:
            asked = {"command": "cancel", "yes": True}
            refused = http.post("/v1/bulk", json=asked)
        with server.http() as other:
            assert other.post("/v1/bulk", json=asked | {"dry_run": True}).json()["done"] == 6
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        assert refused.json()["type"].endswith("#too-many-requests")
        began = time.monotonic()

    assert time.monotonic() - began < 4
    found = BulkJobs(app).find(job.rpartition("/")[2])
    assert found is not None
    assert (found.state, found.stopped_by) == ("stopped", "")
    assert 0 < found.done < 6
    counts = app.runs.counts()
    assert counts["counting", RunStatus.PAUSED] == 6 - counts["counting", RunStatus.QUEUED] < 6
