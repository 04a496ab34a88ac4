"""Behind a proxy that ends TLS: scheme and address are the client's if the proxy is trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from integration.api_site import counting_app
from milepost.checkpointing import Misconfigured
from milepost.control.api.keys import Scope
from milepost.control.api.settings import ApiSettings
from milepost.tasks import Milepost
from support.api_server import ApiServer

HERE = "127.0.0.1"
HOST = "milepost.example"
TLS = {"Host": HOST, "Origin": f"https://{HOST}", "X-Forwarded-Proto": "https"}


@pytest.fixture
def app(redis_url: str) -> Iterator[Milepost]:
    app = counting_app(redis_url)
    yield app
    app.close()


def sign_in(server: ApiServer, key: str, **headers: str) -> httpx.Response:
    with httpx.Client(base_url=server.url) as client:
        return client.post("/sign-in", data={"key": key}, headers={**TLS, **headers})


def test_a_trusted_proxy_says_that_it_is_https(app: Milepost) -> None:
    with ApiServer(app, api_trusted_proxies=HERE) as server:
        signed_in = sign_in(server, server.key())
        cookie = signed_in.headers["set-cookie"]
        session = {"Cookie": cookie.partition(";")[0]}
        theme = httpx.post(f"{server.url}/theme", data={"theme": "dark"}, headers=TLS | session)

    assert signed_in.status_code == 303, signed_in.text
    assert "Secure" in cookie
    assert "Secure" in theme.headers["set-cookie"]


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8, 192.0.2.7"])
def test_nobody_else_is_believed(app: Milepost, trusted: str) -> None:
    with ApiServer(app, api_trusted_proxies=trusted) as server:
        answer = sign_in(server, server.key(), Origin=f"http://{HOST}")

    assert answer.status_code == 303, answer.text
    assert "Secure" not in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("settings", "origin", "status"),
    [
        ({"api_trusted_proxies": HERE}, f"https://{HOST}", 303),
        ({"api_trusted_proxies": HERE}, f"https://{HOST}:443", 303),
        ({"api_trusted_proxies": HERE}, f"http://{HOST}", 403),
        ({"api_trusted_proxies": HERE}, f"https://{HOST}:8443", 403),
        ({"api_trusted_proxies": HERE}, f"https://{HOST}:x", 403),
        ({}, f"https://{HOST}", 403),
        ({}, f"http://{HOST}", 303),
    ],
)
def test_a_form_comes_from_the_scheme_that_was_asked(
    app: Milepost, settings: dict[str, Any], origin: str, status: int
) -> None:
    """A page of http:// of the same host may be anybody's who sits between."""
    with ApiServer(app, **settings) as server:
        assert sign_in(server, server.key(), Origin=origin).status_code == status


def test_a_socket_comes_from_the_scheme_that_was_asked(app: Milepost) -> None:
    with ApiServer(app, api_trusted_proxies=HERE) as server:
        url = server.url.replace("http", "ws") + "/v1/ws"
        key = server.key(Scope.READ)
        headers = {"Authorization": f"Bearer {key}", "X-Forwarded-Proto": "https"}
        with connect(
            url, additional_headers=headers, origin=Origin(f"https://{HERE}:{server.port}")
        ):
            pass
        with pytest.raises(InvalidStatus) as refused:
            connect(url, additional_headers=headers, origin=Origin(server.url))
    assert refused.value.response.status_code == 403


def guesses(server: ApiServer, number: int, **headers: str) -> list[int]:
    return [sign_in(server, f"mp_{n}_x", **headers).status_code for n in range(number)]


def test_who_guesses_waits_alone_behind_a_trusted_proxy(app: Milepost) -> None:
    """What the client itself wrote into the header, which the proxy adds to, counts for nothing."""
    with ApiServer(app, api_trusted_proxies=HERE) as server:
        for n in range(10):
            guesses(server, 1, **{"X-Forwarded-For": f"10.9.9.{n}, 203.0.113.1"})

        again = sign_in(server, server.key(), **{"X-Forwarded-For": "203.0.113.1"})
        other = sign_in(server, server.key(), **{"X-Forwarded-For": "203.0.113.2"})

    assert (again.status_code, other.status_code) == (429, 303)


def test_who_guesses_cannot_choose_an_address(app: Milepost) -> None:
    with ApiServer(app) as server:
        origin = f"http://{HOST}"
        for n in range(10):
            guesses(server, 1, Origin=origin, **{"X-Forwarded-For": f"203.0.113.{n}"})

        late = sign_in(server, server.key(), Origin=origin, **{"X-Forwarded-For": "203.0.113.99"})

    assert late.status_code == 429


def test_proxies_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILEPOST_API_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,2001:db8::/32")
    proxies = [str(network) for network in ApiSettings().api_trusted_proxies]
    assert proxies == ["127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32"]


@pytest.mark.parametrize("wrong", ["*", "proxy.example", "10.0.0.1/8", "10.0.0.1;10.0.0.2"])
def test_what_is_no_proxy_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("MILEPOST_API_TRUSTED_PROXIES", wrong)
    with pytest.raises(Misconfigured, match=re.escape(f"{wrong} is neither an IP address")) as told:
        ApiSettings()
    assert "MILEPOST_API_TRUSTED_PROXIES" in str(told.value)
