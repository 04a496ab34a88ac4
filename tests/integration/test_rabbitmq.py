"""RabbitMQ as broker, Redis for runs, S3 for checkpoints: nothing shared, the safe order."""

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


@pytest.fixture
def env(
    tmp_path: Path, rabbitmq_url: str, redis_url: str, seaweed_server: SeaweedServer
) -> dict[str, str]:
    """What workers and this process are told; the queue is this test's own."""
    return {
        "MILEPOST_URL": rabbitmq_url,
        "MILEPOST_CHECKPOINTS": store_url(seaweed_server.endpoint, uuid4().hex),
        "MILEPOST_PATIENCE_SECONDS": "1",
        "TEST_RUNS": redis_url,
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


def test_a_run_completes(app: Milepost, env: dict[str, str], tmp_path: Path) -> None:
    """Every checkpoint is in S3, none in Redis."""
    with Worker("acceptance.worker_app", tmp_path, env) as worker:
        worker.wait_ready()
        run = app.start("relay", Trail(), run_id=f"r-{uuid4().hex}").wait(30)

        assert Trail(done=[*STAGES]) == run.state
        assert [m.sequence for m in run.checkpoints()] == [4, 3, 2, 1, 0]
        assert app.checkpoints.store.location.startswith("s3://")


@pytest.mark.parametrize("point", ["saved", "advanced", "published", "noted"])
def test_killed_between_two_writes(
    app: Milepost, env: dict[str, str], tmp_path: Path, point: str
) -> None:
    """Body, head, message: dying after each leaves a run that goes on, and runs no stage again."""
    fault = {"FAULT_POINT": point, "FAULT_ACTION": "kill", "FAULT_FOLDER": str(tmp_path)}
    with Worker("acceptance.worker_app", tmp_path, {**env, **fault}) as worker:
        worker.wait_ready()
        run = app.start("relay", Trail(), run_id=f"r-{uuid4().hex}").wait(40)

        assert Trail(done=[*STAGES]) == run.state
    ran = [effect.stage for effect in Ledger(Path(env["TEST_LEDGER"])).entries(run.id)]
    assert [*STAGES] == ran
    assert (tmp_path / "reached").exists()
