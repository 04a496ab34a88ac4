"""What the layout promises."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("checkpointing", "tasks", "worker", "control")
FOLDERS = (*ROOMS, "examples", "benchmarks", "tests")


def test_the_namespace_package_has_no_init() -> None:
    """One such file would hide the other three rooms from type checkers."""
    found = [*ROOT.glob("*/milepost/__init__.py")]

    assert found == []


def test_every_room_is_typed() -> None:
    """PEP 561 knows no marker for a whole namespace."""
    missing = [r for r in ROOMS if not (ROOT / r / "milepost" / r / "py.typed").is_file()]

    assert missing == []


def test_files_stay_small() -> None:
    """A file holds one noun."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    long = {str(p.relative_to(ROOT)): n for p in files if (n := p.read_text().count("\n")) > 400}

    assert long == {}


def test_no_file_is_called_utils() -> None:
    """Such names say nothing."""
    banned = {"utils", "helpers", "common", "misc"}
    found = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py") if p.stem in banned]

    assert found == []


@pytest.mark.timeout(300)
def test_the_wheel_built_from_the_sdist_holds_everything(tmp_path: Path) -> None:
    """Links and prefixes once dropped files on this way without a word."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*command, "--sdist", str(ROOT)], check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as sdist:
        sdist.extractall(tmp_path / "source", filter="data")
    source = next((tmp_path / "source").iterdir())
    subprocess.run([*command, "--wheel", str(source)], check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    expected = {
        str(path.relative_to(ROOT / room))
        for room in ROOMS
        for pattern in ("*.py", "*.lua", "*.html", "*.css", "*.js", "*.svg", "py.typed")
        for path in (ROOT / room / "milepost").rglob(pattern)
    }

    assert expected
    assert expected <= names
