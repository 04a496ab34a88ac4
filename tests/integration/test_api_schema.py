"""The API does what its OpenAPI says, for whatever schemathesis makes of that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case

from integration.api_site import counting_app, finish
from support.api_server import ApiServer
from support.redis_server import RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with (
        RedisServer() as redis,
        ApiServer(counting_app(redis.url), api_rate_per_second=0) as server,
    ):
        for name in ("flights-2013", "one"):
            server.app.start("counting", {"broken": True}, run_id=name, budget={"usd": 1})
            finish(server.app, name)
        yield server


@pytest.fixture(scope="module")
def described(server: ApiServer) -> Any:
    """The document without the streams, which do not end."""
    document = server.served.openapi()
    for path in ("/v1/events", "/v1/runs/{run_id}/events"):
        del document["paths"][path]
    return schemathesis.openapi.from_dict(document)


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=[*HealthCheck])
def test_the_api_does_what_it_says(case: Case, server: ApiServer) -> None:
    """Statuses, content types and documents are those described; what is refused is refused with 4xx."""
    key = server.key()
    case.call_and_validate(base_url=server.url, headers={"Authorization": f"Bearer {key}"})
    assert [each.id for each in server.keys.all()]


def test_the_description_is_whole(server: ApiServer) -> None:
    """Every operation has a name, a text, a scope, and examples where something is sent."""
    document = server.served.openapi()
    names = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["operationId"] not in names
            names.add(operation["operationId"])
            assert operation["description"]
            assert "4XX" in operation["responses"], (path, method)
            public = path in ("/healthz", "/readyz")
            assert ("x-scope" in operation, "security" in operation) == (not public, not public)
    assert len(names) > 25
    assert "examples" in document["components"]["schemas"]["Start"]["properties"]["state"]
