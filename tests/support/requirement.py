"""What a test needs from the machine: absent, it skips here and fails in CI."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """End the test for want of something: a skip locally, a failure where ``CI`` is set."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {reason}", pytrace=False)
    pytest.skip(reason)


def need_program(*names: str) -> str:
    """Return the path of the first of *names* that is installed."""
    for name in names:
        if path := shutil.which(name):
            return path
    missing(f"none of these programs is on PATH: {', '.join(names)}")
