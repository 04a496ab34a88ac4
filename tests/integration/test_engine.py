"""The engine, step by step in this process: Redis for runs, and S3 for checkpoints where it matters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from uuid import uuid4

import pytest
import redis
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery

from milepost.checkpointing import Unavailable
from milepost.checkpointing.redis_connection import prefix_of
from milepost.checkpointing.stores.redis import LogKeys
from milepost.tasks import Context, Milepost, Retry, Run, RunStatus
from milepost.tasks.setbacks import StageFailed
from milepost.tasks.testing.intending import redirecting
from support.s3_server import MotoServer, s3_client, store_url
from support.waiting import eventually

STAGES = ("a", "b", "c", "d")


class Lab:
    """An app with the stages a, b, c and d, each of which notes that it ran and adds its version."""

    def __init__(self, url: str, checkpoints: str | None = None) -> None:
        self.app = Milepost(url, checkpoints=checkpoints)
        self.ran: list[str] = []
        self.version = 1
        line = self.app.pipeline("line")
        for name in STAGES:
            line.stage(name=name)(self._body(name))

    def _body(self, name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def body(state: dict[str, Any]) -> dict[str, Any]:
            self.ran.append(name)
            return {**state, name: self.version}

        return body

    def step(self, run: Run) -> str:
        """Execute the step due, as a worker does that got its message."""
        return step(self.app, run)

    def finish(self, run: Run) -> None:
        """Execute steps until the run ends."""
        for _ in range(20):
            if run.status.ended:
                return
            self.step(run)
        raise AssertionError(f"the run does not end: {run.head}")


def step(app: Milepost, run: Run) -> str:
    head = run.head
    return app.runtime.engine.execute(head.pipeline, head.step)


@pytest.fixture
def split(redis_url: str, moto_server: MotoServer) -> Iterator[Lab]:
    lab = Lab(redis_url, store_url(moto_server.endpoint, uuid4().hex))
    yield lab
    lab.app.close()
    lab.app.celery.close()


@contextmanager
def forgotten(url: str, run_id: str) -> Iterator[None]:
    """Let the run store be, after the block, as it was for this run before it."""
    key = f"{prefix_of(run_id)}run:{run_id}"
    with redis.Redis.from_url(url) as client:
        was = client.dump(key)
        yield
        client.delete(key)
        if was is not None:
            client.restore(key, 0, was)


def test_a_run_store_that_went_back_runs_no_committed_stage_again(
    split: Lab, redis_url: str
) -> None:
    """However far: the log is asked for the commit of each step."""
    run = split.app.start("line", {"n": 1})
    split.step(run)
    with forgotten(redis_url, run.id):
        split.step(run)
        split.step(run)

    split.finish(run)

    assert split.ran == [*STAGES]
    assert run.state == {"n": 1, **dict.fromkeys(STAGES, 1)}
    assert [found.sequence for found in run.checkpoints()] == [4, 3, 2, 1, 0]


@pytest.mark.fault("F42")
def test_a_start_that_died_behind_its_input_is_taken_up(split: Lab, redis_url: str) -> None:
    with forgotten(redis_url, "taken-up"):
        split.app.start("line", {"n": 1}, run_id="taken-up")

    run = split.app.start("line", {"n": 1}, run_id="taken-up")

    assert len(run.checkpoints()) == 1
    split.finish(run)
    assert split.ran == [*STAGES]


@pytest.mark.parametrize("state", [{"n": 1}, {"n": 2}])
def test_a_new_life_of_a_run_id_takes_nothing_of_an_earlier_one(
    split: Lab, redis_url: str, state: dict[str, int]
) -> None:
    """The head of the first was forgotten after its time; its log is kept elsewhere, by other rules."""
    with forgotten(redis_url, "twice"):
        split.finish(split.app.start("line", {"n": 1}, run_id="twice"))
    split.version = 2

    run = split.app.start("line", state, run_id="twice")
    split.finish(run)

    assert split.ran == [*STAGES, *STAGES]
    assert run.state == {**state, **dict.fromkeys(STAGES, 2)}


@pytest.mark.parametrize(("pipeline", "steps"), [("still", 1), ("other", 0)])
def test_an_earlier_life_that_looks_like_an_input_is_none(
    split: Lab, redis_url: str, pipeline: str, steps: int
) -> None:
    """A stage may have left the state as it was, and another pipeline may have had the same."""
    for name in ("still", "other"):
        line = split.app.pipeline(name)
        for stage in ("a", "b"):
            line.stage(name=stage)(lambda state: state)
    with forgotten(redis_url, "alike"):
        earlier = split.app.start(pipeline, {"n": 1}, run_id="alike")
        for _ in range(steps):
            split.step(earlier)

    run = split.app.start("still", {"n": 1}, run_id="alike")

    assert (run.head.timeline, run.head.sequence, run.head.stage) == (1, 0, "a")
    assert run.checkpoint.metadata.pipeline == "still"
    assert run.head.key.sequence == 0
    split.finish(run)


@pytest.mark.fault("F42")
def test_a_start_that_comes_second_leaves_nothing_behind(
    split: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It saw no run, and finds that another was made, and moved on, in the meantime."""
    look = split.app.runs.get

    def too_early(run_id: str) -> None:
        monkeypatch.setattr(split.app.runs, "get", look)
        split.step(split.app.start("line", {"n": 1}, run_id="raced"))

    monkeypatch.setattr(split.app.runs, "get", too_early)

    run = split.app.start("line", {"n": 1}, run_id="raced")

    assert [(found.timeline, found.sequence) for found in run.checkpoints()] == [(0, 1), (0, 0)]
    split.finish(run)
    assert split.ran == [*STAGES]


@pytest.mark.fault("F43")
def test_a_log_that_refuses_is_asked_again_later(redis_url: str, moto_server: MotoServer) -> None:
    """The stage is not at fault, and neither run at once for ever nor set aside at once."""
    bucket = uuid4().hex
    s3 = s3_client(moto_server.endpoint)
    s3.create_bucket(Bucket=bucket)
    lab = Lab(redis_url, store_url(moto_server.endpoint, "x", bucket))
    with closing(lab.app), closing(s3):
        run = lab.app.start("line", {})
        for found in s3.list_objects_v2(Bucket=bucket)["Contents"]:
            s3.delete_object(Bucket=bucket, Key=found["Key"])
        s3.delete_bucket(Bucket=bucket)

        with pytest.raises(StageFailed):
            lab.step(run)

        assert run.status is RunStatus.SCHEDULED
        assert run.head.failure is not None
        assert run.head.failure["type"] == "Refused"


def test_a_run_without_its_checkpoint_can_be_cancelled(split: Lab) -> None:
    run = split.app.start("line", {"n": 1})
    split.app.checkpoints.delete_run(run.id)

    run.cancel()

    assert run.status is RunStatus.CANCELLED
    assert run.state is None


def test_a_run_that_cannot_be_looked_after_keeps_no_other_from_it(redis_url: str) -> None:
    lab = Lab(redis_url)
    with closing(lab.app), redis.Redis.from_url(redis_url) as client:
        # In one shard they are looked at in the order of their due times.
        ids = sorted((f"r{number}" for number in range(40)), key=prefix_of)[:2]
        assert prefix_of(ids[0]) == prefix_of(ids[1])
        odd, other = (lab.app.start("line", {}, run_id=name, delay="1h") for name in ids)
        lab.app.runs.intend(odd.id, redirecting(odd.head))
        client.hset(f"{prefix_of(odd.id)}run:{odd.id}", "status_before", "nonsense")
        client.zadd(f"{prefix_of(odd.id)}due", {odd.id: 1, other.id: 2})

        lab.app.runtime.reconciler.look()

        assert odd.status is RunStatus.REDIRECTING
        assert other.head.published_at > 0


@pytest.mark.fault("F64")
def test_a_damaged_checkpoint_is_never_a_wrong_state(redis_url: str) -> None:
    """The run is set aside; repaired and retried, it goes on where it was."""
    lab = Lab(redis_url)
    with closing(lab.app), redis.Redis.from_url(redis_url) as client:
        run = lab.app.start("line", {"n": 1})
        lab.step(run)
        bodies, place = LogKeys.of(run.id).bodies, run.head.at
        whole = client.hget(bodies, place)
        assert isinstance(whole, bytes)
        client.hset(bodies, place, whole.replace(b'"n":1', b'"n":2'))

        with pytest.raises(StageFailed):
            lab.step(run)

        assert (run.status, lab.ran) == (RunStatus.FAILED, ["a"])
        assert run.head.failure is not None
        assert run.head.failure["type"] == "Corrupt"
        client.hset(bodies, place, whole)
        run.retry()
        lab.finish(run)
        assert run.state == {"n": 1, **dict.fromkeys(STAGES, 1)}


def failing(url: str, error: Callable[[], BaseException]) -> tuple[Milepost, Run]:
    app = Milepost(url)

    @app.pipeline("bad").stage(retry=Retry(attempts=2, backoff="1ms"))
    async def bad(state: dict[str, Any]) -> dict[str, Any]:
        raise error()

    return app, app.start("bad", {})


@pytest.mark.fault("F58")
@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (asyncio.CancelledError, "TaskError", "raised CancelledError"),
        (lambda: Unavailable("the stage's own store is away"), "Unavailable", "own store"),
        (SoftTimeLimitExceeded, "StageTimeout", "longer than the worker's soft time limit"),
        (lambda: KeyError("x"), "KeyError", "x"),
        (lambda: GeneratorExit("odd"), "TaskError", "raised GeneratorExit"),
    ],
)
def test_whatever_a_stage_raises_is_counted(
    redis_url: str, error: Callable[[], BaseException], kind: str, says: str
) -> None:
    app, run = failing(redis_url, error)
    with closing(app):
        for _ in range(2):
            with pytest.raises(StageFailed):
                step(app, run)
            eventually(lambda: app.runs.look() and run.status is not RunStatus.SCHEDULED)
        assert run.status is RunStatus.FAILED
        assert run.head.failures == 2
        assert run.head.failure is not None
        assert run.head.failure["type"] == kind
        assert says in run.head.failure["message"]


@pytest.mark.fault("F58")
def test_a_stage_that_works_at_last(redis_url: str) -> None:
    """Its failures are forgotten, and every try was counted."""
    app, tries = Milepost(redis_url), list[int]()

    @app.pipeline("moody").stage(retry=Retry(attempts=3, backoff="1ms"))
    def moody(state: dict[str, Any], ctx: Context) -> dict[str, Any]:
        tries.append(ctx.attempt)
        if len(tries) < 3:
            raise OSError("not yet")
        return {"at": len(tries)}

    with closing(app):
        run = app.start("moody", {})
        for _ in range(2):
            with pytest.raises(StageFailed):
                step(app, run)
            eventually(lambda: app.runs.look() and run.status is not RunStatus.SCHEDULED)
        step(app, run)
        assert (run.status, run.state, tries) == (RunStatus.COMPLETED, {"at": 3}, [1, 2, 3])
        assert (run.head.failures, run.head.error) == (0, "")


@pytest.mark.fault("S1")
@pytest.mark.parametrize(
    "settings", [{"task_serializer": "pickle"}, {"task_compression": "gzip"}], ids=str
)
def test_an_app_of_another_taste_publishes_stages_as_json(
    redis_url: str, settings: dict[str, str]
) -> None:
    celery = Celery("taste", broker=redis_url, set_as_current=False)
    celery.conf.update(accept_content=["json", "pickle"], task_default_queue="taste", **settings)
    app = Milepost(celery)
    app.pipeline("one").stage(name="go")(lambda state: state)
    with closing(app), closing(celery):
        run = app.start("one", {})
        with celery.connection_for_read() as connection:
            message = connection.SimpleQueue("taste").get(timeout=5)
        assert message.content_type == "application/json"
        assert message.decode()[1] == {"run_id": run.id, "sequence": 0}
