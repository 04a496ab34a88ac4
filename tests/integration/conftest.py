"""What several modules of integration tests start from."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from celery import _state

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
def only_own_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tasks that pytest-celery shares with every app from apps that are made now."""
    finalizers = _state._on_app_finalizers
    built_in = {each for each in finalizers if each.__module__ == "celery.app.builtins"}
    monkeypatch.setattr(_state, "_on_app_finalizers", built_in)
