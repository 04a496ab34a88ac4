"""The embedded server: one for a folder, whoever asks; it outlives its starter and keeps its data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from milepost.checkpointing import Unavailable
from milepost.worker import EmbeddedServer
from support.waiting import eventually

ENSURE = "import sys, pathlib; from milepost.worker import EmbeddedServer as E; "
ENSURE += "server = E(pathlib.Path(sys.argv[1])); server.ensure(); print(server.pid)"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path / "home")
    yield server
    server.stop()


def client(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(server.socket))


def test_many_processes_start_one_server(server: EmbeddedServer) -> None:
    """And it is there after all of them have ended."""
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", ENSURE, str(server.home)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    pids = {starter.communicate(timeout=60)[0].strip() for starter in starters}

    assert pids == {str(server.pid)}
    assert server.is_up


def test_killed_and_started_again_it_has_its_data(server: EmbeddedServer) -> None:
    server.ensure()
    first = server.pid
    assert first is not None
    with client(server) as one:
        one.config_set("appendfsync", "always")
        one.set("key", "value")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not server.is_up, what="the server's end")

    server.ensure()

    assert server.pid != first
    with client(server) as one:
        assert one.get("key") == b"value"
        assert one.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_server_that_hangs_gets_no_twin(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two servers would append to one file, and each would know half of the truth."""
    monkeypatch.setattr("milepost.worker.embedded._START_SECONDS", 0.1)
    server.ensure()
    assert server.pid is not None
    process = psutil.Process(server.pid)
    process.suspend()
    try:
        with pytest.raises(Unavailable, match="is there but does not answer"):
            EmbeddedServer(server.home).ensure()
    finally:
        process.resume()
    eventually(lambda: server.is_up)
    assert server.pid == process.pid


@pytest.mark.fault("S15")
def test_only_its_user_gets_in(server: EmbeddedServer) -> None:
    """No port is open, and the folder is closed to others."""
    server.ensure()
    assert server.pid is not None

    assert not psutil.Process(server.pid).net_connections("inet")
    assert server.socket.parent.stat().st_mode & 0o077 == 0


def test_stopping_is_orderly_and_may_be_repeated(server: EmbeddedServer) -> None:
    server.ensure()
    with client(server) as one:
        one.set("key", "value")

    assert server.stop()
    assert not server.is_up
    assert not server.stop()

    server.ensure()
    with client(server) as one:
        assert one.get("key") == b"value"


def test_a_deep_folder_gets_a_short_socket(tmp_path: Path) -> None:
    """A socket's path must fit into 107 bytes."""
    server = EmbeddedServer(tmp_path.joinpath(*["deep" * 8] * 5))
    try:
        server.ensure()
        assert server.is_up
        assert len(str(server.socket)) < 108
    finally:
        server.stop()
