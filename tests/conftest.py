"""Servers shared by a session of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from support.rabbitmq_server import RabbitServer
from support.redis_server import RedisServer
from support.s3_server import MotoServer, SeaweedServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for the session; tests that kill a server start their own."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of the session's Redis, emptied."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def seaweed_server() -> Iterator[SeaweedServer]:
    """One SeaweedFS for the session; tests keep apart by their prefixes."""
    with SeaweedServer() as server:
        yield server


@pytest.fixture(scope="session")
def moto_server() -> Iterator[MotoServer]:
    """One moto for the session; tests keep apart by their prefixes."""
    with MotoServer() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_url() -> Iterator[str]:
    """The URL of one RabbitMQ for the session."""
    with RabbitServer() as server:
        yield server.url
