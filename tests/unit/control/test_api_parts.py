"""Parts of the API that need no server."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError

from milepost.checkpointing import MilepostError, MissingExtra, TooLarge, Unavailable
from milepost.checkpointing.ids import valid_name
from milepost.control.api.bodies import Name
from milepost.control.api.etag import etag, is_known, is_match
from milepost.control.api.identity import Identity
from milepost.control.api.keys import Scope
from milepost.control.api.problems import KINDS, OF_ERRORS, Problem, problem_of
from milepost.control.api.rates import Rates
from milepost.control.api.strict_json import parse_json
from milepost.control.client_errors import error_of
from milepost.tasks import Conflict, Head, MovedOn, RunStatus, StateInvalid, UnknownRun


def test_json_that_is_accepted() -> None:
    """As it is, up to the depth allowed."""
    text = '{"a": [1, 2.5, -0.0, true, null, "ü\\u00fc\\ud83d\\ude00"], "b": {"a": []}}'
    found = parse_json(text.encode(), 3)
    assert found == {"a": [1, 2.5, -0.0, True, None, "üü😀"], "b": {"a": []}}
    assert parse_json(b"[[]]", 2) == [[]]
    assert parse_json(b"7", 2) == 7
    with pytest.raises(Problem, match="deeper than 2"):
        parse_json(text.encode(), 2)
    with pytest.raises(Problem, match="deeper than 2"):
        parse_json(b'{"x": 1, "a": {"b": {"c": 1}}}', 2)


def test_tags_of_runs() -> None:
    """A tag changes with what is shown; what commands rest on only when the run moves."""
    head = Head("one", "p", "1", "d", 2)
    on = replace(head, progress="[3, 9]")
    assert on.place == head.place
    tag, later = etag(head, b"a"), etag(on, b"b")
    assert tag != later
    assert not is_match(None, head)
    assert not is_match("*", head)
    assert is_match(f'"x", W/{later}', head)
    for moved in (
        replace(head, status=RunStatus.RUNNING),
        replace(head, sequence=1),
        replace(head, timeline=1),
        replace(head, pause=1),
        replace(head, attempt=1),
        replace(head, token=1),
        replace(head, created_at=1),
    ):
        with pytest.raises(MovedOn) as caught:
            is_match(tag, moved)
        assert problem_of(caught.value).kind.status == 412
    assert is_known(f'"x", {tag}', tag)
    assert is_known("*", tag)
    assert not is_known(later, tag)


def test_a_bucket_fills_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As fast as the rate says, up to the burst."""
    now = 100.0
    monkeypatch.setattr("milepost.control.api.rates.time.monotonic", lambda: now)
    rates, anna = Rates(10, 2), Identity("anna", Scope.READ, key_id="1")
    for _ in range(2):
        rates.take(anna)
    with pytest.raises(Problem) as caught:
        rates.take(anna)
    assert caught.value.headers == {"Retry-After": "1"}
    rates.take(Identity("ben", Scope.READ, key_id="2"))
    now += 0.11
    rates.take(anna)
    with pytest.raises(Problem):
        rates.take(anna)
    now += 1000
    for _ in range(2):
        rates.take(anna)
    with pytest.raises(Problem):
        rates.take(anna)


def test_every_error_is_a_problem_and_comes_back() -> None:
    """Of the same class, with its data; what is for operators only is not told."""
    for cls, kind in OF_ERRORS:
        assert kind.uri.endswith(f"#{kind.slug}")
        if cls in (MissingExtra,):
            continue
        answer = httpx.Response(
            kind.status,
            json=Problem(kind, "text").to_dict(),
            request=httpx.Request("GET", "http://x/"),
        )
        assert type(error_of(answer)) is cls
    assert len(KINDS) == len({kind.uri for kind in KINDS.values()})


@pytest.mark.parametrize(
    ("error", "attributes"),
    [
        (Conflict("no", run_id="one", status="failed"), {"run_id": "one", "status": "failed"}),
        (StateInvalid("no", stage="a", path="state.n"), {"stage": "a", "path": "state.n"}),
        (TooLarge("no", size_bytes=9, limit_bytes=8), {"size_bytes": 9, "limit_bytes": 8}),
    ],
)
def test_data_of_errors_come_back(error: MilepostError, attributes: dict[str, Any]) -> None:
    """As attributes, as the library has them."""
    problem = problem_of(error)
    answer = httpx.Response(
        problem.kind.status, json=problem.to_dict(), request=httpx.Request("GET", "http://x/")
    )
    back = error_of(answer)
    assert str(back) == "no"
    assert {name: getattr(back, name) for name in attributes} == attributes


def test_where_stores_are_is_not_told() -> None:
    """Neither in what is unavailable nor in what is unknown."""
    told = [
        problem_of(Unavailable("Redis at redis://10.0.0.1 does not answer")),
        problem_of(UnknownRun("No run one in redis://10.0.0.1.", run_id="one")),
    ]
    assert "10.0.0.1" not in str([each.to_dict() for each in told])
    assert told[0].headers == {"Retry-After": "2"}
    assert str(told[1]) == "There is no run one."


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a.b",
        "A-1_b",
        "a-",
        "a_",
        "a" * 128,
        "",
        ".a",
        "a.",
        "a..b",
        "a/b",
        "a\n",
        "ü",
        "-a",
        "a" * 129,
    ],
)
def test_the_rule_for_names_is_the_librarys(name: str) -> None:
    """What the schema says is what the library checks."""

    def is_good(check: Any) -> bool:
        try:
            check(name)
        except (ValueError, ValidationError):
            return False
        return True

    assert is_good(TypeAdapter(Name).validate_python) == is_good(valid_name)


def test_answers_that_are_no_problem() -> None:
    """A proxy's page is an error, too."""
    request = httpx.Request("GET", "http://x/y")
    assert isinstance(error_of(httpx.Response(503, text="<html>", request=request)), Unavailable)
    assert "http://x/y answered 418" in str(error_of(httpx.Response(418, json=[], request=request)))


def test_the_client_needs_no_server() -> None:
    """Neither FastAPI nor uvicorn is imported for it."""
    code = (
        "import sys; import milepost.control.client; print({'fastapi', 'uvicorn'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
