"""pytest-celery's own nodes and clusters, on processes: kill one worker of two, and restart it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery
from pytest_celery import (
    CeleryBrokerCluster,
    CeleryTestBroker,
    CeleryTestSetup,
    CeleryTestWorker,
    CeleryWorkerCluster,
)

from acceptance.arena import Arena, Trap
from acceptance.pipelines import STAGES, Trail
from milepost.tasks import Milepost
from support.celery_nodes import RedisContainer, WorkerContainer


@pytest.fixture
def milepost_app(arena: Arena) -> Iterator[Milepost]:
    with arena.app() as app:
        yield app


@pytest.fixture
def celery_setup_app(milepost_app: Milepost) -> Celery:
    return milepost_app.celery


@pytest.fixture
def celery_broker_cluster(arena: Arena) -> CeleryBrokerCluster:
    # The arena ends its server.
    return CeleryBrokerCluster(CeleryTestBroker(RedisContainer(arena.server)))


@pytest.fixture
def celery_backend_cluster() -> None:
    """Stages keep no results."""


@pytest.fixture
def trap(arena: Arena) -> Trap:
    return arena.trap("inside")


@pytest.fixture
def celery_worker_cluster(
    arena: Arena, milepost_app: Milepost, trap: Trap
) -> Iterator[CeleryWorkerCluster]:
    # Both are armed; the trap springs once, in whichever of them takes the second stage first.
    with arena.worker(env=trap.env) as one, arena.worker(env=trap.env) as other:
        nodes = (CeleryTestWorker(WorkerContainer(w), milepost_app.celery) for w in (one, other))
        yield CeleryWorkerCluster(*nodes)


@pytest.mark.fault("F7")
def test_kill_and_restart_of_a_node(
    arena: Arena, celery_setup: CeleryTestSetup, milepost_app: Milepost, trap: Trap
) -> None:
    assert celery_setup.ready(control=True, docker=True)
    assert len(celery_setup) == 3
    run = milepost_app.start("relay", Trail())
    pid = trap.wait_reached()
    [victim] = [n for n in celery_setup.worker_cluster if pid in n.container.worker.children]
    victim.kill()
    assert victim.container.status == "exited"
    arena.checker(milepost_app).judge(
        run, state=Trail(done=[*STAGES]), stages=STAGES, executions={"second": 2}
    )
    victim.restart()
    assert victim.container.status == "running"
    assert celery_setup.ready(control=True, docker=True)
    again = milepost_app.start("relay", Trail())
    arena.checker(milepost_app).judge(
        again, state=Trail(done=[*STAGES]), stages=STAGES, executions={}
    )
