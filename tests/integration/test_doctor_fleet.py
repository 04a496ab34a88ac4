"""The checks of a fleet, its code and its broker: each sees what keeps runs from going on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis
from celery import Celery

from integration.test_doctor import FAIL, OK, WARN, found, one, site, verdicts
from integration.test_fleet import define, reported
from milepost.tasks import Milepost, PermanentError, Run, RunStatus, TaskSettings
from milepost.worker.checks import releases
from milepost.worker.checks.broker import (
    BrokerAnswers,
    Messages,
    Prefetch,
    Results,
    VisibilityTimeout,
)
from milepost.worker.checks.clocks import Clocks
from milepost.worker.checks.fleet_health import PausedQueues, RunsServed, Workers
from milepost.worker.checks.leftovers import Aside, CrashLoops, DeadLetters, LastLook
from milepost.worker.checks.releases import Releases
from milepost.worker.checks.site import Site
from milepost.worker.fleet import Fleet
from milepost.worker.software import software

pytestmark = pytest.mark.usefixtures("only_own_tasks")
KNOWN = {"line 1": ("first", "second")}


@pytest.fixture
def app(redis_url: str) -> Iterator[Milepost]:
    settings = TaskSettings(heartbeat_lapse_seconds=30)
    with closing(define(Milepost(redis_url, settings=settings))) as app:
        yield app


def up(app: Milepost, **changes: Any) -> None:
    """A worker that serves all there is, but for *changes*."""
    good = {"queues": ("heavy", "milepost"), "versions": {"line": "1"}, "known": KNOWN}
    reported(app, **{**good, "software": software(), **changes})


def foreign(url: str, **conf: Any) -> Milepost:
    """An app with a task of its own, beside which Milepost lives."""
    celery = Celery("shop", broker=url, set_as_current=False)
    celery.conf.update(task_default_queue="shop", **conf)

    @celery.task(shared=False)
    def bill(order: str) -> str:
        return order

    return Milepost(celery)


def of_foreign(check: Any, url: str, **conf: Any) -> tuple[Any, str]:
    with closing(foreign(url, **conf)) as app, closing(Site(app)) as there:
        return one(check, there)


class TestBroker:
    def test_answers(self, redis_url: str) -> None:
        with site(redis_url) as there:
            assert one(BrokerAnswers, there) == (OK, "It answers.")
        with site("redis://127.0.0.1:1/0", runs=redis_url) as there:
            verdict, says = one(BrokerAnswers, there)
        assert verdict is FAIL
        assert says.startswith("It does not answer: runs are kept")
        verdict, says = of_foreign(BrokerAnswers, redis_url)
        assert verdict is WARN
        assert "'socket_timeout': 30" in says

    def test_visibility_timeout(self, redis_url: str, rabbitmq_url: str) -> None:
        with site(redis_url) as there:
            verdict, says = one(VisibilityTimeout, there)
            assert verdict is OK
            assert says.startswith("Of no effect")
        with site(rabbitmq_url, runs=redis_url) as there:
            assert one(VisibilityTimeout, there) == (OK, "Not of this broker.")
        verdict, says = of_foreign(VisibilityTimeout, redis_url, task_acks_late=True)
        assert verdict is OK
        assert "comes back 3600 to 3700 s after its worker died" in says
        short = {
            "visibility_timeout": 5,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
        }
        verdict, says = of_foreign(
            VisibilityTimeout, redis_url, task_acks_late=True, broker_transport_options=short
        )
        assert verdict is WARN
        assert "comes back 5 to 6 s after" in says
        assert "is run again while it still runs" in says
        verdict, _ = of_foreign(
            VisibilityTimeout, redis_url, task_acks_late=True, task_time_limit=7200
        )
        assert verdict is WARN

    @pytest.mark.parametrize(
        ("conf", "verdict", "says"),
        [
            ({"task_acks_late": True}, OK, "JSON; stages are acknowledged early"),
            ({}, WARN, "with their worker they are lost"),
            (
                {"task_acks_late": True, "accept_content": ["json", "pickle"]},
                WARN,
                "accept pickles",
            ),
            (
                {
                    "task_acks_late": True,
                    "accept_content": ["application/x-python-serialize", "json"],
                },
                WARN,
                "accept pickles",
            ),
            ({"task_acks_late": True, "accept_content": ["yaml"]}, FAIL, "Workers accept yaml;"),
            ({"task_acks_late": True, "task_always_eager": True}, FAIL, "task_always_eager is on"),
        ],
    )
    def test_messages(self, redis_url: str, conf: dict[str, Any], verdict: Any, says: str) -> None:
        found_verdict, found_says = of_foreign(Messages, redis_url, **conf)
        assert found_verdict is verdict
        assert says in found_says

    def test_prefetch(self, redis_url: str) -> None:
        with site(redis_url) as there:
            assert one(Prefetch, there)[0] is OK
        assert of_foreign(Prefetch, redis_url)[1].startswith("A worker takes 4 for each process")
        verdict, says = of_foreign(Prefetch, redis_url, worker_prefetch_multiplier=0)
        assert verdict is WARN
        assert "takes all it can get" in says

    def test_results(self, redis_url: str) -> None:
        with site(redis_url) as there:
            assert one(Results, there)[0] is OK
        assert of_foreign(Results, redis_url, result_backend=redis_url)[0] is OK
        kept = of_foreign(Results, redis_url, result_backend=redis_url, result_expires=None)
        assert kept[0] is WARN


class TestReleases:
    def test_here(self, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with site(redis_url) as there:
            assert one(Releases, there)[0] is OK
            for package, release, says in (
                ("celery", "5.4.0", "expected 5.7 or newer, below 5.8 (before 5.5 a worker"),
                ("celery", "5.8.0", "expected 5.7 or newer, below 5.8"),
                ("kombu", "5.6.2", "expected 5.7"),
                ("redis", "9.0.0", "expected 6.4 or newer, below 9"),
                ("python", "3.10.4", "expected 3.11 or newer."),
            ):
                here = {**software(), package: release}
                monkeypatch.setattr(releases, "software", lambda here=here: here)
                verdict, shown = one(Releases, there)
                assert verdict is FAIL
                assert f"This process has {package} {release}; {says}" in shown

    def test_a_mixed_fleet(self, app: Milepost) -> None:
        up(app, pid=1)
        up(app, pid=2, software={**software(), "milepost": "0.0.9"})
        up(app, pid=3, software={**software(), "milepost": "0.0.9"})
        up(app, pid=4, software={**software(), "celery": "5.6.3"}, seen_at=app.runs.now() - 60_000)
        with closing(Site(app)) as there:
            verdict, says = one(Releases, there)
        assert verdict is WARN
        assert says.startswith(
            "Worker celery@here and 1 more has milepost 0.0.9; here it is another."
        )

    def test_a_worker_that_was_downgraded(self, app: Milepost) -> None:
        up(app, software={**software(), "celery": "5.6.3"})
        with closing(Site(app)) as there:
            assert verdicts(Releases, there) == [FAIL, WARN]


class TestClocks:
    def test_of_workers(self, app: Milepost) -> None:
        up(app, pid=1, clock_skew_ms=12)
        with closing(Site(app)) as there:
            verdict, says = one(Clocks, there)
            assert verdict is OK
            assert "1 workers" in says
        up(app, pid=2, clock_skew_ms=-4_200)
        up(app, pid=3, clock_skew_ms=90_000)
        with closing(Site(app)) as there:
            slow, fast = found(Clocks, there)
        assert (slow.verdict, fast.verdict) == (WARN, FAIL)
        assert slow.says == "Worker celery@here (pid 2) is 4.2 s behind the run store."
        assert "90.0 s ahead of" in fast.says

    def test_of_this_host(self, app: Milepost, monkeypatch: pytest.MonkeyPatch) -> None:
        now = app.runs.now
        monkeypatch.setattr(app.runs, "now", lambda: now() + 5_000)
        with closing(Site(app)) as there:
            verdict, says = one(Clocks, there)
        assert verdict is WARN
        assert says.startswith("This host is 5.0 s behind the run store.")


class TestFleetHealth:
    def test_nobody_is_up(self, app: Milepost) -> None:
        with closing(Site(app)) as there:
            assert one(Workers, there)[0] is WARN
            # One finding for one cause.
            app.start("line", {})
            assert one(RunsServed, there)[0] is OK

    def test_one_fell_silent(self, app: Milepost) -> None:
        up(app, pid=1)
        up(app, pid=2, seen_at=app.runs.now() - 60_000)
        with closing(Site(app)) as there:
            silent, fine = found(Workers, there)
        assert (silent.verdict, fine.verdict) == (WARN, OK)
        assert silent.says == "Worker celery@here (pid 2 on here) was last heard of 60 s ago."

    @pytest.mark.fault("F55")
    def test_a_queue_that_nobody_takes_from(self, app: Milepost) -> None:
        up(app, queues=("milepost",))
        with closing(Site(app)) as there:
            verdict, says = one(Workers, there)
            assert verdict is FAIL
            assert says.startswith("No worker takes from queue heavy. Start one with -Q heavy")
        Fleet(app).pause_queue("heavy", "ann")
        with closing(Site(app)) as there:
            assert one(Workers, there)[0] is OK

    @pytest.mark.parametrize(
        ("worker", "says"),
        [
            ({}, ""),
            ({"versions": {"line": "2"}, "known": {"line 2": ("first", "third")}}, ""),
            (
                {"versions": {"other": "1"}, "known": {"other 1": ("first",)}},
                "no worker has the code of pipeline line 1 for stage first",
            ),
            (
                {"versions": {"line": "0.9"}, "known": {"line 0.9": ("first",)}},
                "no worker has the code of pipeline line 1 for stage first",
            ),
            (
                {"versions": {"line": "2"}, "known": {"line 2": ("third",)}},
                "no worker has the code of pipeline line 1 for stage first",
            ),
            (
                {"queues": ("heavy",)},
                "no worker that has the code of pipeline line takes from queue milepost",
            ),
            ({"state": "draining"}, ""),
        ],
    )
    def test_runs_served(self, app: Milepost, worker: dict[str, Any], says: str) -> None:
        up(app, **worker)
        runs = app.pipelines["line"].start_many([{}] * 3)
        with closing(Site(app)) as there:
            verdict, shown = one(RunsServed, there)
        assert verdict is (FAIL if says else OK)
        if says:
            assert shown.startswith(f"3 waiting runs, such as {runs[0].id}: {says}.")

    def test_a_worker_of_one_pipeline_and_one_of_its_queue_serve_nobody(
        self, app: Milepost
    ) -> None:
        up(app, pid=1, queues=("heavy",))
        up(app, pid=2, versions={"other": "1"}, known={"other 1": ("first",)})
        app.start("line", {})
        with closing(Site(app)) as there:
            verdict, says = one(RunsServed, there)
        assert verdict is FAIL
        assert "no worker that has the code of pipeline line takes from queue milepost" in says

    def test_paused_queues(self, app: Milepost) -> None:
        up(app)
        Fleet(app).pause_queue("heavy", "ann")
        with closing(Site(app)) as there:
            assert one(PausedQueues, there)[0] is OK
        Fleet(app).pause_queue("milepost", "bob")
        app.pipelines["line"].start_many([{}] * 2)
        with closing(Site(app)) as there:
            quiet, full = found(PausedQueues, there)
            assert one(RunsServed, there)[0] is OK
        assert (quiet.verdict, full.verdict) == (OK, WARN)
        assert full.says == "Queue milepost is paused by bob; 2 messages wait there."
        assert full.remedy == "When it may go on: milepost queues resume milepost."


class TestLeftovers:
    def test_nobody_looks(self, app: Milepost, monkeypatch: pytest.MonkeyPatch) -> None:
        with closing(Site(app)) as there:
            assert one(LastLook, there)[0] is WARN
            app.runs.look()
            assert one(LastLook, there)[0] is OK
            looked = app.runs.last_look()
            assert looked is not None
            monkeypatch.setattr(app.runs, "now", lambda: looked + 60_000)
            assert one(LastLook, there)[0] is WARN
        up(app, seen_at=looked + 60_000)
        with closing(Site(app)) as there:
            verdict, says = one(LastLook, there)
        assert verdict is FAIL
        assert says.startswith(
            "Runs were last looked after 60 s ago. Workers are up and do not look"
        )

    def test_failed_runs(self, app: Milepost) -> None:
        def broken(state: dict[str, Any]) -> dict[str, Any]:
            raise PermanentError("no")

        app.pipeline("broken").stage(name="only")(broken)
        with closing(Site(app)) as there:
            assert one(DeadLetters, there)[0] is OK
            for _ in range(2):
                _run_to_failure(app, app.start("broken", {}))
            verdict, says = one(DeadLetters, there)
        assert verdict is WARN
        assert says.startswith("Failed runs: 2 of broken.")

    def test_a_run_that_loses_its_workers(self, app: Milepost) -> None:
        with closing(Site(app)) as there:
            assert one(CrashLoops, there)[0] is OK
            run = app.start("line", {})
            from milepost.tasks.runs import Bid

            app.runs.claim(run.head.step, Bid("owner", "nonce", 1, "host:1"))
            app.runs.bury("owner", "child")
            verdict, says = one(CrashLoops, there)
        assert verdict is WARN
        assert says.startswith(
            f"Run {run.id} has lost 1 workers at stage first without getting on."
        )

    def test_messages_put_aside(self, app: Milepost, redis_url: str) -> None:
        with closing(Site(app)) as there:
            assert one(Aside, there)[0] is OK
            for number in range(3):
                app.runs.put_aside(f"it is no task: {number}", json.dumps({}))
            verdict, says = one(Aside, there)
        assert verdict is WARN
        assert says.startswith("3 messages could not be used; the last: it is no task: 2")
        with redis.Redis.from_url(redis_url) as client:
            assert client.llen("milepost:aside") == 3


def _run_to_failure(app: Milepost, run: Run) -> None:
    from milepost.tasks.setbacks import StageFailed

    with pytest.raises(StageFailed):
        app.runtime.engine.execute(run.head.pipeline, run.head.step)
    assert run.status is RunStatus.FAILED
