"""Servers shared by a session of tests."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import redis

from support.browser import Chromium
from support.postgres_server import PostgresServer
from support.rabbitmq_server import RabbitServer
from support.redis_server import RedisServer
from support.s3_server import MotoServer, SeaweedServer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let one schedule of the simulation be replayed."""
    parser.addoption("--seed", type=int, help="replay the simulated schedule of this seed")


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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for the session; tests that kill a server start their own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of the session's PostgreSQL, without Milepost's tables."""
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
    return postgres_server.url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """One browser for a module; tests keep apart by their visits. While it is there, an event loop runs."""
    with Chromium() as browser:
        yield browser
