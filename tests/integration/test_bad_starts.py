"""A start that is refused says why in one sentence, and has written nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import redis
from pydantic import BaseModel

from milepost.checkpointing import (
    InvalidName,
    MilepostError,
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
