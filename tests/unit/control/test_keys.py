"""Keys of the API, and who has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from milepost.checkpointing import InvalidName, Misconfigured
from milepost.control.api.identity import Identities, Identity, requires
from milepost.control.api.keys import Keys, Scope
from milepost.control.api.problems import Problem
from milepost.tasks import TaskSettings
from milepost.tasks.runs.memory import MemoryRunStore
from support.waiting import eventually


@pytest.fixture
def runs() -> MemoryRunStore:
    return MemoryRunStore(TaskSettings())


@pytest.fixture
def keys(runs: MemoryRunStore) -> Keys:
    return Keys(runs)


async def call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def test_a_key_is_kept_without_its_secret(keys: Keys, runs: MemoryRunStore) -> None:
    """What was shown once is good; what is kept of it opens nothing."""
    text, key = keys.create("anna", Scope.OPERATE, tenant="acme")
    assert keys.verify(text) == key
    assert (key.name, key.scope, key.tenant, key.expires_at) == ("anna", "operate", "acme", None)
    kept = str(runs.kept("api-key"))
    secret = text.rpartition("_")[2] if "_" not in text[16:] else text.split("_", 2)[2]
    assert secret not in kept
    assert keys.all() == [key]
    assert keys.find(key.id) == key


@pytest.mark.fault("S4")
@pytest.mark.parametrize(
    "text",
    ["", "mp", "mp_", "mp__", "mp_x_", "mp_0_y", "xx_{id}_{secret}", "mp_{id}_", "mp_{id}_ü"],
)
def test_what_is_no_key(keys: Keys, text: str) -> None:
    """Nothing but the whole text is."""
    good, key = keys.create("anna", Scope.READ)
    tried = text.format(id=key.id, secret=good.split("_", 2)[2])
    assert keys.verify(tried) is None
    assert keys.verify(good + "x") is None
    assert keys.verify(good[:-1]) is None


def test_a_key_ends(keys: Keys) -> None:
    """When its time is over, or it is revoked."""
    short, key = keys.create("anna", Scope.READ, seconds=0.001)
    eventually(lambda: keys.verify(short) is None)
    assert keys.find(key.id) is None
    assert [each.is_expired for each in keys.all()] == [True]
    good, other = keys.create("ben", Scope.READ, seconds=60)
    assert keys.verify(good) == other
    keys.revoke(other.id)
    assert keys.verify(good) is None
    with pytest.raises(Misconfigured, match="There is no key"):
        keys.revoke(other.id)


def test_names_keep_the_rule(keys: Keys) -> None:
    """Of people and tenants."""
    with pytest.raises(InvalidName, match="key name"):
        keys.create("an na", Scope.READ)
    with pytest.raises(InvalidName, match="tenant"):
        keys.create("anna", Scope.READ, tenant="../x")


def test_scopes_cover_those_before() -> None:
    """read < operate < admin."""
    covers = [(a, b) for a in Scope for b in Scope if a.covers(b)]
    assert covers == [
        ("read", "read"),
        *(("operate", "read"), ("operate", "operate")),
        *(("admin", "read"), ("admin", "operate"), ("admin", "admin")),
    ]


def test_who_asks_is_remembered_for_a_moment(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not longer than the key is good, and not where it was revoked here."""
    identities = Identities(keys, call)
    text, key = keys.create("anna", Scope.READ)
    known = Identity("anna", Scope.READ, "", key.id)
    assert asyncio.run(identities.of_text(text)) == known
    assert asyncio.run(identities.of_key_id(key.id)) == known
    keys.revoke(key.id)
    assert asyncio.run(identities.of_text(text)) == known
    identities.forget()
    assert asyncio.run(identities.of_text(text)) is None
    assert asyncio.run(identities.of_key_id(key.id)) is None
    monkeypatch.setattr("milepost.control.api.identity._TRUST_SECONDS", 60)
    short, _ = keys.create("ben", Scope.READ, seconds=1)
    assert asyncio.run(identities.of_text(short)) is not None
    eventually(lambda: asyncio.run(identities.of_text(short)) is None, 20)


def test_the_local_key_and_its_code(keys: Keys) -> None:
    """The key is good in this process alone; the code signs in once."""
    identities = Identities(keys, call)
    code = identities.make_code()
    assert identities.redeem(code) is None
    text, code = identities.make_local(), identities.make_code()
    local = asyncio.run(identities.of_text(text))
    assert local is not None
    assert (local.scope, local.tenant) == (Scope.ADMIN, "")
    assert asyncio.run(identities.of_key_id(local.key_id)) == local
    assert keys.all() == []
    assert identities.redeem("nothing") is None
    assert identities.redeem(code) == local
    assert identities.redeem(code) is None
    assert asyncio.run(Identities(keys, call).of_text(text)) is None


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic {key}", "{key}", "Bearer x {key}"]
)
def test_headers_that_bring_no_key(keys: Keys, header: str) -> None:
    """Only ``Bearer`` does, in whatever case."""
    identities = Identities(keys, call)
    text, _ = keys.create("anna", Scope.READ)

    def of(value: str) -> Identity | None:
        headers = [(b"authorization", value.encode())]
        return asyncio.run(
            identities.of_header(HTTPConnection({"type": "http", "headers": headers}))
        )

    assert of(header.format(key=text)) is None
    assert of(f"bEARER {text}") is not None


def test_what_a_route_requires() -> None:
    """401 without anybody, 403 for too small a scope or for another's affairs."""
    operate, fleet = requires(Scope.OPERATE), requires(Scope.READ, every_tenant=True)
    reader, bound = Identity("r", Scope.READ), Identity("b", Scope.ADMIN, "acme")
    statuses = []
    for rule, who in ((operate, None), (operate, reader), (fleet, bound)):
        with pytest.raises(Problem) as caught:
            rule.check(who)
        statuses.append(caught.value.kind.status)
    assert statuses == [401, 403, 403]
    assert operate.check(bound) is bound
    assert fleet.check(reader) is reader
