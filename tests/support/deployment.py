"""What stands in `deploy/`, read by the programs that it is written for where a machine has them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from .requirement import missing, need_program

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
SYSTEMD = DEPLOY / "systemd"


def texts() -> dict[Path, str]:
    """Return all files in `deploy/` that people write, but no private ones."""
    private = {".env", "secret.env"}
    return {
        path: path.read_text()
        for path in DEPLOY.rglob("*")
        if path.is_file() and path.suffix not in {".lock", ".pyc"} and path.name not in private
    }


def new_environment(path: Path) -> dict[str, str]:
    """Return what `new_env.py` writes to *path*."""
    subprocess.run([sys.executable, str(DEPLOY / "new_env.py"), str(path)], check=True)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def compose(env_file: Path | str, *more: Path) -> subprocess.CompletedProcess[str]:
    """Let Docker Compose itself read, check and resolve `compose.yaml`; it needs no engine for that."""
    program = need_program("docker-compose")
    files = [word for path in (DEPLOY / "compose.yaml", *more) for word in ("-f", str(path))]
    return subprocess.run(
        [program, *files, "--env-file", str(env_file), "config", "--format", "json"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )


def services(env_file: Path, *more: Path) -> dict[str, Any]:
    """Return the services of `compose.yaml`, with the variables of *env_file* put in."""
    done = compose(env_file, *more)
    assert done.returncode == 0, done.stderr
    # Compose writes what it would read again: a dollar sign is doubled.
    found: dict[str, Any] = json.loads(done.stdout.replace("$$", "$"))["services"]
    return found


def manifests() -> list[dict[str, Any]]:
    """Return all Kubernetes objects, those that are optional as well."""
    files = [p for p in KUBERNETES.rglob("*.yaml") if p.name != "kustomization.yaml"]
    return [each for path in sorted(files) for each in yaml.safe_load_all(path.read_text())]


def pods() -> dict[str, dict[str, Any]]:
    """Return the pod templates' specs by the names of their deployments."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in manifests()
        if each["kind"] == "Deployment"
    }


def unit(name: str) -> dict[str, list[str]]:
    """Return the settings of a systemd unit; each may stand there several times."""
    found: dict[str, list[str]] = {}
    for line in (SYSTEMD / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def units() -> list[str]:
    """Return the names of all units."""
    return sorted(path.name for path in SYSTEMD.glob("*.service"))


def stages() -> list[list[Any]]:
    """Return the Dockerfile's instructions by build stage, as BuildKit's own parser reads them."""
    try:
        import dockerfile
    except ImportError:
        missing("the package dockerfile is not installed")
    found: list[list[Any]] = [[]]
    for command in dockerfile.parse_file(str(DEPLOY / "Dockerfile")):
        if command.cmd == "FROM":
            found.append([])
        found[-1].append(command)
    return found[1:]


def copied(stage: list[Any]) -> Iterator[tuple[str, str]]:
    """Yield source and destination of what a stage copies out of the build context."""
    for command in stage:
        if command.cmd == "COPY" and not any(f.startswith("--from") for f in command.flags):
            *sources, destination = command.value
            for source in sources:
                yield source, destination


def build_context(folder: Path) -> None:
    """Copy to *folder* what a builder would be sent: all that `.dockerignore` lets through."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and reaches_builder(Path(name)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def reaches_builder(path: Path) -> bool:
    """Whether `.dockerignore` lets *path* through; the last rule that fits it or a folder of it decides."""
    passes = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern, lets_through = line.removeprefix("!"), line.startswith("!")
        expression, anywhere = pattern.removeprefix("**/"), pattern.startswith("**/")
        for part in (path, *path.parents[:-1]):
            names = (str(part), part.name) if anywhere else (str(part),)
            depth = expression.count("/")
            if any(fnmatchcase(n, expression) and n.count("/") == depth for n in names):
                passes = lets_through
    return passes


def seconds(text: str) -> float:
    """Return a duration as Compose and systemd write it: ``45s``, ``1m0s``, ``45``."""
    parts = re.findall(r"(\d+)(m|s|$)", text)
    return float(sum(int(n) * (60 if u == "m" else 1) for n, u in parts if n))
