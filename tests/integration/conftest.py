"""What several modules of integration tests start from."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from integration.dashboard import Dashboard, dashboard_on
from integration.deploys import Deploys
from support.s3_server import MotoServer, store_url


@pytest.fixture(params=["one Redis", "S3"])
def deploys(
    request: pytest.FixtureRequest, redis_url: str, moto_server: MotoServer
) -> Iterator[Deploys]:
    checkpoints = None
    if request.param == "S3":
        checkpoints = store_url(moto_server.endpoint, uuid4().hex)
    there = Deploys(redis_url, checkpoints)
    yield there
    there.close()


@pytest.fixture
def board(redis_url: str) -> Iterator[Dashboard]:
    with dashboard_on(redis_url) as there:
        yield there
