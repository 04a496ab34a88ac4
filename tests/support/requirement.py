"""What a test needs from the machine: absent, it skips here and fails in CI."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """End the test for want of something: a skip locally, a failure where ``CI`` is set."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {reason}", pytrace=False)
    pytest.skip(reason)


def need_program(*names: str) -> str:
    """Return the path of the first of *names* on PATH or beside this Python."""
    folders = os.pathsep.join(
        (os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent))
    )
    for name in names:
        if path := shutil.which(name, path=folders):
            return path
    missing(f"none of these programs is installed: {', '.join(names)}")
