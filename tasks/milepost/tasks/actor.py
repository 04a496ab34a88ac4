"""In whose name a process acts that was told no name."""

from __future__ import annotations

from getpass import getuser
from socket import gethostname


def default_actor() -> str:
    """Return user and host."""
    try:
        user = getuser()
    except (KeyError, OSError):
        # In containers the user id often has no name.
        user = "unknown"
    return f"{user}@{gethostname()}"
