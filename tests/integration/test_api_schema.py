"""The API does what its OpenAPI says, for whatever schemathesis makes of that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
)

from integration.api_site import counting_app, finish
from support.api_server import ApiServer
from support.redis_server import RedisServer

_EXAMPLES = 12
_LONG = ("/v1/events", "/v1/runs/{run_id}/events", "/v1/runs/{run_id}/wait")
"""What does not end at once; tested elsewhere."""


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


# Threads of the server draw random numbers while values are made.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@pytest.mark.parametrize("mode", [*GenerationMode])
def test_the_api_does_what_it_says(server: ApiServer, mode: GenerationMode) -> None:
    """Statuses, content types and documents are those described; what is wrong is refused with 4xx."""
    document = server.served.openapi()
    for path in _LONG:
        del document["paths"][path]
    header = {"Authorization": f"Bearer {server.key()}"}
    found = schemathesis.openapi.from_dict(document).get_all_operations()
    operations = [each.ok() for each in found if isinstance(each, Ok)]
    assert len(operations) > 25
    wrong = []
    for operation in operations:

        @given(operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=_EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            # What is found is told as it is: making it smaller takes minutes.
            phases=[Phase.generate],
            suppress_health_check=[*HealthCheck],
        )
        def check(case: Case[Any]) -> None:
            answer = case.call(base_url=server.url, headers=header)
            excluded: list[Any] = [positive_data_acceptance]
            if answer.status_code == 412:
                # Where the run stands is looked at before what is wanted of it.
                excluded.append(negative_data_rejection)
            case.validate_response(answer, excluded_checks=excluded)
            # The library may still refuse, for reasons that no schema can say.
            if mode is GenerationMode.POSITIVE and answer.status_code >= 400:
                problem = answer.json()
                assert not problem["type"].endswith("#invalid-request"), problem
                assert problem["status"] < 500, problem

        try:
            check()
        except Unsatisfiable:
            # There is nothing in it that could be wrong.
            continue
        except (AssertionError, BaseExceptionGroup) as error:
            wrong.append(f"{operation.label}: {error}")
    assert not wrong, "\n\n".join(wrong)


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
