"""What a process runs on."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from platform import python_version

_PACKAGES = ("milepost", "celery", "kombu", "redis", "pydantic")


def software() -> dict[str, str]:
    """Return the versions of Python and of the packages on which durability rests."""
    found = {"python": python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
