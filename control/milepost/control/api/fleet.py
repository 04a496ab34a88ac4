"""The workers and queues of an application."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from milepost.tasks import Milepost


def open_fleet(app: Milepost) -> Any:
    """Return the `Fleet` of *app*."""
    return import_module("milepost.worker.fleet").Fleet(app)


def has_fleet() -> bool:
    """Whether this installation can tell of workers and queues."""
    return find_spec("milepost.worker.fleet") is not None
