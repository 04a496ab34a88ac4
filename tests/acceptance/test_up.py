"""``milepost up``: it serves what the application needs, and ends when that cannot be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from milepost.worker import EmbeddedServer
from support.processes import IMPORTS

TRAVEL = """
from milepost.tasks import Milepost

app = Milepost()
travel = app.pipeline("travel")


@travel.stage
def near(state: dict) -> dict:
    return state


@travel.stage(queue="far")
def far(state: dict) -> dict:
    return {**state, "arrived": True}
"""


class Folder:
    """A folder with an application, and ``milepost`` in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "travels.py").write_text(TRAVEL)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MILEPOST_")}
        self.env = {**kept, "PYTHONPATH": IMPORTS, "MILEPOST_APP": "travels"}

    def milepost(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "milepost.control.cli", *words],
            cwd=self.path,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    yield Folder(tmp_path)
    EmbeddedServer(tmp_path / ".milepost").stop()


def test_stages_of_all_queues_are_run(folder: Folder) -> None:
    """Everything on one machine: nobody else would come for the others."""
    up = folder.milepost("up", "-c", "1", "--api-port", "0", "--no-flower")
    try:
        start = folder.milepost("start", "travel", "{}", "--run-id", "there")
        assert start.communicate(timeout=60)[0] == "there\n"
        result = folder.milepost("result", "there", "--timeout", "60s")
        assert result.communicate(timeout=90)[0] == '{"arrived": true}\n'
    finally:
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
    assert up.returncode == 0


def test_what_starting_again_cannot_mend_ends_it(folder: Folder) -> None:
    """A missing extra is said once."""
    (folder.path / "fastapi.py").write_text("raise ModuleNotFoundError(name='fastapi')\n")
    folder.env["PYTHONPATH"] = f"{folder.path}{os.pathsep}{IMPORTS}"
    up = folder.milepost("up", "-c", "1", "--no-flower")
    said = up.communicate(timeout=90)[0]

    assert up.returncode == 1
    assert said.count("The HTTP API needs an extra: pip install 'milepost[api]'.") == 1
    assert "milepost: api does not stay up; ending." in said
