"""The ``milepost`` command, as a shell runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .processes import TESTS

COMMAND = (sys.executable, "-m", "milepost.control.cli")


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with *env*, in which tests can be imported."""
    path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, **env}


def milepost(folder: Path, env: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=90,
    )
