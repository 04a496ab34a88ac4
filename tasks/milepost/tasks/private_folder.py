"""A folder that other users of the machine cannot have prepared."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from milepost.checkpointing import Misconfigured


def private_folder(path: Path, remedy: str) -> Path:
    """Make *path* unless it is there, and return it.

    Raises:
        Misconfigured: Somebody else made it, or could write to it; *remedy* says what to do.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise Misconfigured(
            f"{path} must be a folder that belongs to this user and that nobody else can write to. "
            f"{remedy}"
        )
    return path
