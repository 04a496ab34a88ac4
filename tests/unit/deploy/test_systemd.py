"""The systemd units, as `systemd-analyze` reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from milepost.worker.settings import WorkerSettings
from support.deployment import SYSTEMD, seconds, unit, units
from support.requirement import need_program

_PROGRAM = "/opt/milepost/venv/bin/milepost"


@pytest.fixture
def analysed(tmp_path: Path) -> list[str]:
    """The units' copies, the template as an instance; only the program's place is another."""
    program = need_program("milepost", "true")
    for name in units():
        text = (SYSTEMD / name).read_text().replace(_PROGRAM, program)
        (tmp_path / name).write_text(text)
        if "@" in name:
            (tmp_path / name.replace("@", "@01")).write_text(text)
    return [str(tmp_path / name.replace("@", "@01")) for name in units()]


def test_systemd_has_nothing_to_say_against_them(analysed: list[str]) -> None:
    program = need_program("systemd-analyze")
    command = [program, "verify", "--man=no", "--recursive-errors=no", *analysed]

    done = subprocess.run(command, capture_output=True, text=True)

    assert len(analysed) == 3
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_they_are_exposed_little(analysed: list[str]) -> None:
    """Of 10; the threshold is in tenths. A unit without hardening has 9.2."""
    program = need_program("systemd-analyze")
    for path in analysed:
        command = [program, "security", "--offline=yes", "--threshold=15", "--no-pager", path]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", units())
def test_they_come_back_unless_their_settings_are_wrong(name: str) -> None:
    found = unit(name)

    assert found["Restart"] == ["always"]
    assert found["StartLimitIntervalSec"] == ["0"]
    # The exit code of `milepost` for wrong usage or settings.
    assert found["RestartPreventExitStatus"] == ["2"]
    assert found["User"] == ["milepost"]
    assert found["ExecStart"][0].startswith(f"{_PROGRAM} ")


def test_workers_have_time_to_hand_back() -> None:
    worker = unit("milepost-worker@.service")
    lines = (SYSTEMD / "milepost.env.example").read_text().splitlines()
    grace = float(dict(e.split("=", 1) for e in lines if "=" in e)["MILEPOST_GRACE_SECONDS"])

    assert grace == WorkerSettings(_env_file=None).grace_seconds
    assert seconds(worker["TimeoutStopSec"][0]) >= grace + 15


def test_sigterm_reaches_the_main_process_alone() -> None:
    worker = unit("milepost-worker@.service")

    assert worker["KillMode"] == ["mixed"]
    assert worker["KillSignal"] == ["SIGTERM"]


def test_workers_of_a_host_see_each_others_locks_after_a_stop() -> None:
    """All instances share the folder; without Preserve, the first to stop would take it from the others."""
    worker = unit("milepost-worker@.service")

    assert "MILEPOST_LOCK_DIRECTORY=/run/milepost" in worker["Environment"]
    assert worker["RuntimeDirectory"] == ["milepost"]
    assert worker["RuntimeDirectoryPreserve"] == ["yes"]
    assert worker["RuntimeDirectoryMode"] == ["0700"]


def test_strangers_reach_neither_api_nor_flower() -> None:
    assert "--host=127.0.0.1" in unit("milepost-api.service")["ExecStart"][0]
    assert "--address=127.0.0.1" in unit("milepost-flower.service")["ExecStart"][0]
