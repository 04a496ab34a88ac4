"""RabbitMQ as broker, runs in Redis or PostgreSQL, checkpoints there or in S3: the safe order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from acceptance.pipelines import STAGES, Trail, build
from milepost.tasks import Milepost
from support.ledger import Ledger
from support.processes import Worker
from support.s3_server import SeaweedServer, store_url
from support.waiting import eventually

Stores = dict[str, str]


def in_redis_and_s3(request: pytest.FixtureRequest) -> Stores:
    """Nothing shared: body, head and message are written one after the other."""
    s3: SeaweedServer = request.getfixturevalue("seaweed_server")
    return {
        "MILEPOST_RUNS": request.getfixturevalue("redis_url"),
        "MILEPOST_CHECKPOINTS": store_url(s3.endpoint, uuid4().hex),
    }


def in_postgresql(request: pytest.FixtureRequest) -> Stores:
    """No Redis at all: body and head in one transaction, then the message."""
    return {"MILEPOST_RUNS": request.getfixturevalue("postgres_url")}


def in_postgresql_and_s3(request: pytest.FixtureRequest) -> Stores:
    """Bodies in S3, heads in PostgreSQL."""
    runs = in_postgresql(request)
    return {**in_redis_and_s3(request), **runs}


@pytest.fixture
def env(request: pytest.FixtureRequest, tmp_path: Path, rabbitmq_url: str) -> dict[str, str]:
    """What workers and this process are told; the queue is this test's own."""
    return {
        **request.param(request),
        "MILEPOST_URL": rabbitmq_url,
        "MILEPOST_PATIENCE_SECONDS": "1",
        "MILEPOST_HEARTBEAT_LAPSE_SECONDS": "2",
        "TEST_QUEUE": f"test-{uuid4().hex}",
        "TEST_LEDGER": str(tmp_path / "ledger"),
    }


@pytest.fixture
def app(env: dict[str, str]) -> Iterator[Milepost]:
    """The client's side."""
    app = build(env)
    yield app
    app.close()
    app.celery.close()


anywhere = pytest.mark.parametrize(
    "env", [in_redis_and_s3, in_postgresql, in_postgresql_and_s3], indirect=True
)


@anywhere
def test_a_run_completes(app: Milepost, env: dict[str, str], tmp_path: Path) -> None:
    """Every checkpoint is where it was to be kept."""
    with Worker("acceptance.worker_app", tmp_path, env) as worker:
        worker.wait_ready()
        run = app.start("relay", Trail(), run_id=f"r-{uuid4().hex}").wait(30)

        assert Trail(done=[*STAGES]) == run.state
        assert [m.sequence for m in run.checkpoints()] == [4, 3, 2, 1, 0]
        kept = env.get("MILEPOST_CHECKPOINTS", env["MILEPOST_RUNS"])
        assert app.checkpoints.store.location.split("://")[0] == kept.split("://")[0]


POINTS = [
    pytest.param("claimed", marks=pytest.mark.fault("F4")),
    pytest.param("ran", marks=pytest.mark.fault("F8")),
    pytest.param("saved", marks=pytest.mark.fault("F11")),
    pytest.param("advanced", marks=pytest.mark.fault("F11")),
    pytest.param("published", marks=pytest.mark.fault("F12")),
    pytest.param("noted", marks=pytest.mark.fault("F13")),
]


@anywhere
@pytest.mark.parametrize("point", POINTS)
def test_killed_between_two_writes(
    app: Milepost, env: dict[str, str], tmp_path: Path, point: str
) -> None:
    """Dying after each leaves a run that goes on, and runs no committed stage again."""
    if point == "saved" and "MILEPOST_CHECKPOINTS" not in env:
        pytest.skip("body and head are written at once")
    fault = {"FAULT_POINT": point, "FAULT_ACTION": "kill", "FAULT_FOLDER": str(tmp_path)}
    with Worker("acceptance.worker_app", tmp_path, {**env, **fault}) as worker:
        worker.wait_ready()
        run = app.start("relay", Trail(), run_id=f"r-{uuid4().hex}").wait(40)

        assert Trail(done=[*STAGES]) == run.state
    ran = [effect.stage for effect in Ledger(Path(env["TEST_LEDGER"])).entries(run.id)]
    assert [*STAGES] == (ran[:2] + ran[3:] if point == "ran" else ran)
    assert (tmp_path / "reached").exists()


@pytest.mark.fault("F7")
@pytest.mark.parametrize("env", [in_postgresql], indirect=True)
def test_a_worker_killed_whole_is_taken_over_without_redis(
    app: Milepost, env: dict[str, str], tmp_path: Path
) -> None:
    fault = {"FAULT_POINT": "inside", "FAULT_FOLDER": str(tmp_path)}
    with Worker("acceptance.worker_app", tmp_path, {**env, **fault}, name="victim") as victim:
        victim.wait_ready()
        run = app.start("relay", Trail(), run_id=f"r-{uuid4().hex}")
        eventually((tmp_path / "reached").exists, 20)
        victim.kill_group()
        with Worker("acceptance.worker_app", tmp_path, env, name="heir") as heir:
            heir.wait_ready()
            run.wait(20)
    assert Trail(done=[*STAGES]) == run.state
    ran = [effect.stage for effect in Ledger(Path(env["TEST_LEDGER"])).entries(run.id)]
    assert ran == ["first", "second", "second", "third", "fourth"]
