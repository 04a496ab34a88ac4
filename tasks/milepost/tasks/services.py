"""What the rooms above offer to this one, found by entry point so that imports run one way only."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from milepost.checkpointing import Misconfigured

GROUP = "milepost.services"


def service(name: str) -> Any:
    """Return what the installed distribution registers as *name*.

    Raises:
        Misconfigured: Nothing is registered: Milepost is on the path but not installed.
    """
    for entry in entry_points(group=GROUP, name=name):
        return entry.load()
    raise Misconfigured(
        f"No {name!r} service is registered. Install the distribution: pip install milepost."
    )
