"""What several modules of integration tests start from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import _state

from integration.command_line import Line
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


@pytest.fixture(params=["one Redis", "S3", "SQLite"])
def line(
    request: pytest.FixtureRequest, redis_url: str, moto_server: MotoServer, tmp_path: Path
) -> Iterator[Line]:
    options: dict[str, Any] = {}
    if request.param == "S3":
        options = {"checkpoints": store_url(moto_server.endpoint, uuid4().hex)}
    elif request.param == "SQLite":
        options = {"runs": f"sqlite:///{tmp_path / 'runs.db'}"}
    there = Line(redis_url, **options)
    with closing(there.app):
        yield there
    there.app.celery.close()


@pytest.fixture
def only_own_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tasks that pytest-celery shares with every app from apps that are made now."""
    finalizers = _state._on_app_finalizers
    built_in = {each for each in finalizers if each.__module__ == "celery.app.builtins"}
    monkeypatch.setattr(_state, "_on_app_finalizers", built_in)


@pytest.fixture
def board(redis_url: str) -> Iterator[Dashboard]:
    with dashboard_on(redis_url) as there:
        yield there
