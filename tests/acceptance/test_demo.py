"""``milepost demo``, as ``make demo`` calls it: it proves what it says, and fails where it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from milepost.checkpointing import open_store
from support.s3_server import SeaweedServer, store_url

ROOT = Path(__file__).resolve().parents[2]
ALIKE = """
from milepost.tasks import Milepost

app = Milepost()
alike = app.pipeline("alike")

@alike.stage
def first(state: dict) -> dict:
    return {"rows": [1, 2, 3]}

@alike.stage
def second(state: dict) -> dict:
    return {"sum": sum(state["rows"])}
"""
UNLIKE = """
import os
from milepost.tasks import Milepost

app = Milepost()
unlike = app.pipeline("unlike")

@unlike.stage
def first(state: dict) -> dict:
    return state

@unlike.stage
def second(state: dict) -> dict:
    return {"pid": os.getpid()}
"""


def demo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    return subprocess.run(
        [sys.executable, "-m", "milepost.control.cli", "demo", *words],
        cwd=folder,
        env={**env, "FLIGHTS_OUT": str(folder / "out"), "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_every_flight_of_2013_survives_a_kill(tmp_path: Path) -> None:
    done = demo(tmp_path, "-A", "examples.flights", "flights", '{"name": "2013"}')

    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill -9" in done.stdout
    assert "✗" not in done.stdout
    assert (tmp_path / "out/2013/flights.png").read_bytes().startswith(b"\x89PNG")
    assert "336,776" in (tmp_path / "out/2013/report.html").read_text()


def in_s3(request: pytest.FixtureRequest, folder: Path) -> str:
    server: SeaweedServer = request.getfixturevalue("seaweed_server")
    return store_url(server.endpoint, f"demo/{uuid4().hex}")


def in_postgresql(request: pytest.FixtureRequest, folder: Path) -> str:
    return str(request.getfixturevalue("postgres_url"))


def in_redis(request: pytest.FixtureRequest, folder: Path) -> str:
    return str(request.getfixturevalue("redis_url"))


def in_sqlite(request: pytest.FixtureRequest, folder: Path) -> str:
    return f"sqlite:///{folder}/checkpoints.db"


def in_files(request: pytest.FixtureRequest, folder: Path) -> str:
    return f"file://{folder}/checkpoints"


@pytest.mark.parametrize("place", [in_redis, in_s3, in_postgresql, in_sqlite, in_files])
def test_one_flag_says_where_checkpoints_go(
    tmp_path: Path, request: pytest.FixtureRequest, place: Callable[..., str]
) -> None:
    """However fast its stages are: the killed one is found."""
    (tmp_path / "alike.py").write_text(ALIKE)
    url = place(request, tmp_path)

    done = demo(tmp_path, "-A", "alike", "--checkpoints", url)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout
    with open_store(url) as store:
        (run_id,) = store.runs().items
        assert [entry.key.sequence for entry in store.history(run_id).items] == [2, 1, 0]


def test_runs_and_checkpoints_can_be_kept_in_one_database(
    tmp_path: Path, postgres_url: str
) -> None:
    (tmp_path / "alike.py").write_text(ALIKE)

    done = demo(tmp_path, "-A", "alike", "--runs", postgres_url)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "go to postgresql://" in done.stdout


def test_a_result_that_is_not_that_of_one_process_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "unlike.py").write_text(UNLIKE)

    done = demo(tmp_path, "-A", "unlike", "--kill-in", "second")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "✗" in done.stdout
