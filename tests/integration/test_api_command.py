"""``milepost api`` and ``milepost keys``, as a shell runs them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from integration.test_cli import PIPELINES, Shell
from support.waiting import eventually


@pytest.fixture
def shell(tmp_path: Path, redis_url: str) -> Shell:
    (tmp_path / "counted.py").write_text(PIPELINES)
    shell = Shell(tmp_path)
    shell.env["MILEPOST_URL"] = redis_url
    return shell


@contextmanager
def serving(shell: Shell, *words: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the address, and what was printed up to when it answers."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "milepost.control.cli", "api", "--port", "0", *words],
        cwd=shell.folder,
        env=shell.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        url = first.split()[-1].removesuffix("/v1")

        def answers() -> bool:
            try:
                return httpx.get(f"{url}/readyz").status_code == 200
            except httpx.TransportError:
                return False

        eventually(answers, 20)
        os.set_blocking(process.stdout.fileno(), False)
        yield url, [first, *process.stdout.readlines()]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stdout.close()


def test_keys_are_made_listed_and_revoked(shell: Shell) -> None:
    """The text is shown once."""
    text = shell("keys", "create", "anna", "--scope", "operate", "--tenant", "acme").strip()
    assert text.startswith("mp_")
    made = shell.json("keys", "create", "ben", "--scope", "read", "--expires", "30d")[0]
    assert made["key"].startswith(f"mp_{made['id']}_")
    assert made["expires_at"] - made["created_at"] == pytest.approx(30 * 86400)
    listed = shell.json("keys", "list")
    assert [(key["name"], key["scope"], key["tenant"]) for key in listed] == [
        ("anna", "operate", "acme"),
        ("ben", "read", ""),
    ]
    shown = shell("keys", "list")
    assert "anna" in shown
    assert text.split("_", 2)[2] not in shown + str(listed)
    assert shell.json("keys", "revoke", made["id"]) == [{"revoked": made["id"]}]
    assert "There is no key" in shell("keys", "revoke", made["id"], code=2)
    assert "key name" in shell("keys", "create", "an na", "--scope", "read", code=2)
    assert "is no duration" in shell(
        "keys", "create", "anna", "--scope", "read", "--expires", "soon", code=2
    )


def test_without_a_key_it_serves_this_machine_with_one_of_its_own(shell: Shell) -> None:
    """It is printed, is good as long as the process, and is nowhere kept."""
    with serving(shell) as (url, printed):
        assert url.startswith("http://127.0.0.1:")
        key = printed[2].strip()
        assert printed[-1].strip().startswith(f"{url}/sign-in?code=")
        assert httpx.get(f"{url}/v1/runs").status_code == 401
        header = {"Authorization": f"Bearer {key}"}
        listed = httpx.get(f"{url}/v1/pipelines", headers=header).json()
        assert [pipeline["name"] for pipeline in listed["items"]] == ["counting"]
        started = httpx.post(
            f"{url}/v1/pipelines/counting/runs", json={"state": {"n": 1}}, headers=header
        )
        assert started.status_code == 201
    assert shell.json("keys", "list") == []
    with serving(shell) as (url, _):
        assert httpx.get(f"{url}/v1/runs", headers=header).status_code == 401


def test_with_a_key_nothing_is_made_up(shell: Shell) -> None:
    """And keys of the store are good."""
    key = shell("keys", "create", "anna", "--scope", "read").strip()
    with serving(shell) as (url, printed):
        assert len(printed) == 1
        header = {"Authorization": f"Bearer {key}"}
        assert httpx.get(f"{url}/v1/runs", headers=header).status_code == 200


@pytest.mark.fault("S4")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_without_a_key_it_is_not_open_to_others(shell: Shell, host: str) -> None:
    """It refuses, in one line; an expired key does not help."""
    shell("keys", "create", "anna", "--scope", "admin", "--expires", "1ms")
    said = shell("api", "--host", host, "--port", "0", code=2)
    assert f"{host} can be reached by others, and there is no key" in said
    assert said.count("\n") == 1


def test_with_a_key_it_may_be(shell: Shell) -> None:
    """Beyond loopback, for whoever has one."""
    key = shell("keys", "create", "anna", "--scope", "read").strip()
    with serving(shell, "--host", "0.0.0.0") as (url, _):
        header: dict[str, Any] = {"Authorization": f"Bearer {key}"}
        assert httpx.get(f"{url}/v1/runs", headers=header).status_code == 200
        assert httpx.get(f"{url}/v1/runs").status_code == 401


def test_a_port_that_is_taken(shell: Shell) -> None:
    """One line that says what to do, and the code of wrong usage."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = shell("api", "--port", str(port), code=2)

    assert (
        f"milepost: The API cannot listen on 127.0.0.1:{port}: Address already in use. Name another"
        in said
    )
    assert said.count("\n") == 1
