"""A server that can lose runs is named: what can be lost, and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from acceptance.arena import APP
from milepost.tasks import Milepost
from milepost.worker.checks.at_start import weaknesses
from support.processes import TESTS, Worker
from support.redis_server import RedisServer

EVICTS = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
FORGETS = ("--appendonly", "no")


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of the test's own, with the options it names."""
    with RedisServer(*request.param) as server:
        yield server


@pytest.mark.fault("F25", "F28")
@pytest.mark.parametrize(
    ("server", "says"),
    [
        ((), []),
        (EVICTS, ["eviction policy is allkeys-lru"]),
        (FORGETS, ["loses every run. Set appendonly yes"]),
        ((*FORGETS, "--save", "900 1"), ["loses everything since the last snapshot"]),
        ((*EVICTS, *FORGETS), ["dropped in silence", "append-only"]),
    ],
    indirect=["server"],
)
def test_weaknesses(server: RedisServer, says: list[str]) -> None:
    with closing(Milepost(server.url)) as app:
        found = [str(finding) for finding in weaknesses(app)]

    assert len(found) == len(says)
    assert all(text in sentence for text, sentence in zip(says, found, strict=True))


@pytest.mark.parametrize("server", [EVICTS], indirect=True)
def test_a_weak_checkpoint_store_is_named_too(server: RedisServer, redis_url: str) -> None:
    with closing(Milepost(redis_url, checkpoints=server.url)) as app:
        [found] = map(str, weaknesses(app))

    assert found.startswith(f"{server.url} can lose runs: its eviction policy")


@pytest.mark.fault("F25", "F28")
@pytest.mark.parametrize("server", [(*EVICTS, *FORGETS)], indirect=True)
def test_a_worker_warns_and_a_strict_one_refuses(server: RedisServer, tmp_path: Path) -> None:
    env = {"MILEPOST_URL": server.url, "TEST_LEDGER": str(tmp_path / "ledger")}
    env["TEST_ANTIDOTE"] = str(tmp_path / "antidote")
    with Worker(APP, tmp_path, env) as worker:
        worker.wait_ready()
        worker.wait_for_log("its eviction policy is allkeys-lru")
        worker.wait_for_log("it keeps no append-only file")

    refused = subprocess.run(
        [sys.executable, "-m", "milepost.control.cli", "worker", "-A", APP, "--strict"],
        cwd=tmp_path,
        env={
            **os.environ,
            **env,
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert refused.returncode == 2
    assert "can lose runs: its eviction policy is allkeys-lru" in refused.stderr
    assert "Traceback" not in refused.stderr
