"""The embedded server's folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from .base import Check, Finding
from .site import Site

_LITTLE, _NONE = 1 << 30, 100 << 20
_VOLATILE = frozenset({"tmpfs", "ramfs"})


class EmbeddedDisk(Check):
    """Room, and whether it outlives a restart of the machine."""

    name = "embedded server"

    def findings(self, site: Site) -> Iterator[Finding]:
        server = site.app.embedded_server
        if server is None:
            yield self.ok("Not in use.")
            return
        home: Path = server.home
        kind = filesystem_of(home)
        if kind in _VOLATILE:
            yield self.warn(
                f"Its data is in memory ({kind}), and gone when the machine restarts.",
                "Set MILEPOST_HOME to a folder on a disk.",
                str(home),
            )
        free = shutil.disk_usage(home).free
        says = f"{free / 2**30:.1f} GiB are free where its data is."
        if free < _LITTLE:
            remedy = "Make room: with a full disk it takes no writes."
            yield (self.fail if free < _NONE else self.warn)(says, remedy, str(home))
        elif kind not in _VOLATILE:
            yield self.ok(says, str(home))


def filesystem_of(path: Path) -> str:
    """Return the kind of file system that *path* is on; empty where the kernel does not say."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return ""
    found = [
        (len(mount[1]), mount[2])
        for mount in mounts
        if path.resolve().is_relative_to(mount[1].replace("\\040", " "))
    ]
    return max(found, default=(0, ""))[1]
