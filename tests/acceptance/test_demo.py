"""``milepost demo``, as ``make demo`` calls it: it proves what it says, and fails where it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNLIKE = """
import os, time
from milepost.tasks import Milepost

app = Milepost()
unlike = app.pipeline("unlike")

@unlike.stage
def first(state: dict) -> dict:
    return state

@unlike.stage
def second(state: dict) -> dict:
    time.sleep(1)
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


def test_a_result_that_is_not_that_of_one_process_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "unlike.py").write_text(UNLIKE)

    done = demo(tmp_path, "-A", "unlike", "--kill-in", "second")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "✗" in done.stdout
