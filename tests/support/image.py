"""The steps of `deploy/Dockerfile`, taken on this machine instead of in a container."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .deployment import build_context, stages


class Image:
    """What the image would hold, below *folder*: `opt/milepost` with its lock installed and Milepost in it.

    Every COPY and RUN of the first stage is done as it is written; only the places are others, and this
    Python stands for that of the base image.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "opt/milepost"
        self.base = folder / "base"

    def build(self) -> None:
        """Take the steps; what fails says why."""
        context, work = self.folder / "context", self.folder / "build"
        build_context(context)
        work.mkdir()
        self.home.parent.mkdir()
        subprocess.run([sys.executable, "-m", "venv", str(self.base)], check=True)
        builder, final = stages()
        for command in builder:
            if command.cmd == "COPY":
                *sources, destination = command.value
                for source in sources:
                    _copy(context / source, work / destination)
            if command.cmd == "RUN":
                self._run(command.value[0], work)
        for command in final:
            if command.cmd == "COPY" and not command.flags:
                (source, destination) = command.value
                _copy(context / source, self.folder / destination.lstrip("/"))

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets, on a machine without anything else."""
        found = {"HOME": str(self.folder), "LANG": "C.UTF-8"}
        for command in stages()[-1]:
            if command.cmd == "ENV":
                found |= dict(zip(command.value[::2], command.value[1::2], strict=True))
        found["PATH"] = self._placed(found["PATH"]).replace("$PATH", "/usr/bin:/bin")
        return found

    @property
    def program(self) -> str:
        """What the entry point runs."""
        (entry,) = [c for c in stages()[-1] if c.cmd == "ENTRYPOINT"]
        return str(self.home / "bin" / entry.value[-1])

    def _run(self, text: str, work: Path) -> None:
        env = {
            **{k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}},
            "PATH": f"{self.base / 'bin'}:/usr/bin:/bin",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            # Compiling takes a third of the time, and changes nothing that is looked at.
            "PIP_NO_COMPILE": "1",
        }
        done = subprocess.run(
            ["sh", "-ec", self._placed(text)], cwd=work, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"

    def _placed(self, text: str) -> str:
        placed = text.replace("/opt/milepost", str(self.home))
        return placed.replace("/wheels", str(self.folder / "wheels"))


def _copy(source: Path, destination: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, destination)
    else:
        target = destination / source.name if destination.is_dir() else destination
        shutil.copy(source, target)
