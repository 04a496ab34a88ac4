"""A start that is refused says why in one sentence, and has written nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from pydantic import BaseModel

from milepost.checkpointing import (
    InvalidName,
    MilepostError,
    Misconfigured,
    NotSerializable,
    TooLarge,
    Unavailable,
)
from milepost.tasks import (
    InputMismatch,
    Milepost,
    RunQuery,
    RunStatus,
    StateInvalid,
    UnknownPipeline,
)
from milepost.tasks.head import Head
from milepost.tasks.order import StartOptions, ordered_all
from milepost.tasks.settings import TaskSettings
from support.ports import free_port
from support.s3_server import store_url

SMALL = 10_000


class Order(BaseModel):
    rows: int
    note: Any = None


def build(url: str, **options: Any) -> Milepost:
    """Return an app with one pipeline of each kind of state."""
    app = Milepost(url, settings=TaskSettings(max_record_bytes=SMALL), **options)

    @app.pipeline("typed").stage
    def load(state: Order) -> Order:
        return state

    @app.pipeline("plain").stage(name="load")
    def load_plain(state: dict[str, Any]) -> dict[str, Any]:
        return state

    return app


@pytest.fixture
def app(redis_url: str) -> Iterator[Milepost]:
    app = build(redis_url)
    yield app
    app.close()
    app.celery.close()


def a_cycle() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    return loop


BAD: list[tuple[str, Any, str | None, type[MilepostError], str]] = [
    ("nothing", {}, None, UnknownPipeline, "known: typed, plain"),
    ("typed", {"rows": "many"}, None, StateInvalid, r"stage load expects: state\.rows"),
    ("typed", {}, None, StateInvalid, r"state\.rows"),
    ("typed", {"rows": 1, "note": object()}, None, NotSerializable, "note"),
    ("plain", {"x": [1.0, float("nan")]}, None, NotSerializable, r"x\.1|x\[1\]"),
    ("plain", {"x": float("inf")}, None, NotSerializable, "x"),
    ("plain", a_cycle(), None, NotSerializable, "again"),
    ("plain", {"x": lambda: None}, None, NotSerializable, "x"),
    # Random enough to stay large when it is compressed.
    ("plain", {"x": [hash(str(n) * 3) for n in range(9_000)]}, None, TooLarge, str(SMALL)),
    ("plain", {}, "../../etc/passwd", InvalidName, "run id"),
    ("plain", {}, "a*", InvalidName, "run id"),
    ("plain", {}, "a\r\nDEL b", InvalidName, "run id"),
    ("plain", {}, "a" * 10_240, InvalidName, "run id"),
    ("plain", {}, "", InvalidName, "run id"),
]


@pytest.mark.fault("F70")
@pytest.mark.parametrize(("pipeline", "state", "run_id", "kind", "says"), BAD)
def test_a_refused_start_writes_nothing(
    app: Milepost,
    redis_url: str,
    pipeline: str,
    state: Any,
    run_id: str | None,
    kind: type[MilepostError],
    says: str,
) -> None:
    app.start("plain", {}, run_id="stands")
    with redis.Redis.from_url(redis_url) as client:
        before = {key: client.dump(key) for key in client.scan_iter()}

        with pytest.raises(kind, match=says) as caught:
            app.start(pipeline, state, run_id=run_id)

        assert len(str(caught.value)) < 1_000
        assert {key: client.dump(key) for key in client.scan_iter()} == before


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"tags": "nightly"}, Misconfigured, "expected a list of tags"),
        ({"tags": ["eu", "a b"]}, InvalidName, "tag"),
        ({"tenant": "../acme"}, InvalidName, "tenant"),
        ({"priority": 10}, Misconfigured, "from 0 to 9"),
        ({"priority": -1}, Misconfigured, "from 0 to 9"),
        ({"priority": True}, Misconfigured, "from 0 to 9"),
        ({"delay": 1, "at": datetime(2030, 1, 1, tzinfo=UTC)}, Misconfigured, "not both"),
    ],
)
def test_options_that_cannot_be_are_refused(
    app: Milepost, options: StartOptions, kind: type[MilepostError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        app.start("plain", {}, **options)
    with pytest.raises(kind, match=says):
        app.pipelines["plain"].start_many([{}, {}], **options)
    assert app.runs.find().items == ()


def test_a_time_that_has_passed_is_now(app: Milepost) -> None:
    """And a tag given twice is one."""
    ago = datetime(2001, 1, 1, tzinfo=UTC)
    one = app.start("plain", {}, at=ago, tags=["eu", "night", "eu"])
    (other,) = app.pipelines["plain"].start_many([{}], at=ago, tags=["eu", "night", "eu"])
    for run in (one, other):
        assert (run.status, run.head.tags) == (RunStatus.QUEUED, ("eu", "night"))
        assert run.head.published_at > 0


def test_a_run_of_which_the_input_is_not_known_is_still_of_its_pipeline(app: Milepost) -> None:
    """A head that was rebuilt from a log without facts has no digest; it is taken at its word."""
    stands = app.start("plain", {"rows": 1}).head
    app.runs.create(replace(stands, run_id="rebuilt", digest=""), record=None, push=None)
    assert app.start("plain", {"rows": 2}, run_id="rebuilt").id == "rebuilt"
    with pytest.raises(InputMismatch, match="of pipeline plain"):
        app.start("typed", {"rows": 1}, run_id="rebuilt")


def test_the_same_id_twice(app: Milepost) -> None:
    """With the same input it is the same run; with another it is refused, and the first one stands."""
    first = app.start("typed", {"rows": 1}, run_id="twice")
    assert app.start("typed", Order(rows=1), run_id="twice").id == first.id
    for pipeline, state in (("typed", {"rows": 2}), ("plain", {"rows": 1})):
        with pytest.raises(InputMismatch, match="Run twice exists already"):
            app.start(pipeline, state, run_id="twice")

    assert first.status is RunStatus.QUEUED
    assert first.state == Order(rows=1)
    assert len(first.checkpoints()) == 1
    assert [head.run_id for head in app.runs.find().items] == ["twice"]


def test_each_of_thousands_is_judged_for_itself(app: Milepost) -> None:
    """In whichever batch it comes; what is refused keeps no other from being made."""
    pipeline, ids = app.pipelines["plain"], [f"r{number}" for number in range(2_300)]
    states: list[dict[str, Any]] = [{"n": number} for number in range(2_300)]
    states[2_200]["x"] = [hash(str(n) * 3) for n in range(9_000)]
    for taken in (100, 1_100):
        app.start("plain", {"n": "another"}, run_id=ids[taken])
    orders = ordered_all(pipeline, states, ids, {})

    outcomes = app.lifecycle.start_many(pipeline, orders)

    refused = {100: InputMismatch, 1_100: InputMismatch, 2_200: TooLarge}
    assert {place: type(each) for place, each in enumerate(outcomes) if each} == refused
    assert sum(app.runs.counts().values()) == 2_299
    again = app.lifecycle.start_many(pipeline, orders)
    stand = [each.run_id for each in again if isinstance(each, Head)]
    assert stand == [name for place, name in enumerate(ids) if place not in refused]


def test_starts_are_published_where_the_broker_is_elsewhere(redis_url: str) -> None:
    """The run store cannot put their messages on a queue."""
    with closing(build("memory://", runs=redis_url)) as app:
        waiting = app.runtime.dispatch.waiting
        before = waiting("milepost") or 0
        runs = app.pipelines["plain"].start_many([{}, {}])
        runs.append(app.start("plain", {}))
        later = app.pipelines["plain"].start_many([{}, {}], delay="1h")
        later.append(app.start("plain", {}, delay="1h"))

        assert all(run.head.published_at for run in runs)
        assert not any(run.head.published_at for run in later)
        assert waiting("milepost") == before + 3
        app.celery.close()


def dead_run_store(_: str) -> Milepost:
    return build(f"redis://:hunter2@127.0.0.1:{free_port()}/0")


def dead_log(redis_url: str) -> Milepost:
    endpoint = f"http://127.0.0.1:{free_port()}"
    return build(redis_url, checkpoints=store_url(endpoint, "down"))


@pytest.mark.parametrize("make", [dead_run_store, dead_log])
def test_a_store_that_is_down(redis_url: str, make: Callable[[str], Milepost]) -> None:
    """Its URL without the password; what was tried; nothing written to the other store."""
    with closing(make(redis_url)) as app, redis.Redis.from_url(redis_url) as client:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1") as caught:
            app.start("plain", {}, run_id="nowhere")

        assert "hunter2" not in str(caught.value)
        assert not [*client.scan_iter("*nowhere*")]


@pytest.mark.fault("F1")
def test_a_broker_that_is_down_loses_no_run(redis_url: str) -> None:
    """The run is made, and published when the broker is there; to start it again is safe."""
    broker = f"amqp://guest:hunter2@127.0.0.1:{free_port()}//"
    with closing(build(broker, runs=redis_url)) as app:
        run = app.start("plain", {}, run_id="waits")

        assert app.start("plain", {}, run_id="waits").id == run.id
        assert run.status is RunStatus.QUEUED
        assert [head.run_id for head in app.runs.find(RunQuery.of(RunStatus.QUEUED)).items] == [
            run.id
        ]
