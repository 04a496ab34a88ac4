"""Arenas for fault tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from acceptance.arena import Arena, Rescuer
from support.s3_server import MotoServer, store_url


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """All in one Redis."""
    with Arena(tmp_path_factory.mktemp("arena")) as arena:
        yield arena


@pytest.fixture(scope="module")
def rescuer(arena: Arena) -> Iterator[Rescuer]:
    """A second worker in the arena, which no fault befalls."""
    with arena.worker("threads") as worker:
        yield Rescuer(worker.wait_ready())


@pytest.fixture(scope="module")
def split_arena(
    tmp_path_factory: pytest.TempPathFactory, moto_server: MotoServer
) -> Iterator[Arena]:
    """Runs in one Redis database, messages in another, checkpoints in S3."""
    url = store_url(moto_server.endpoint, "acceptance")
    folder = tmp_path_factory.mktemp("split")
    with Arena(folder, split=True, env={"MILEPOST_CHECKPOINTS": url}) as arena:
        yield arena


@pytest.fixture(scope="module")
def split_rescuer(split_arena: Arena) -> Iterator[Rescuer]:
    """A second worker in the split arena."""
    with split_arena.worker("threads") as worker:
        yield Rescuer(worker.wait_ready())
