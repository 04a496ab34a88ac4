"""The image, as far as it can be judged without building it; `acceptance/test_deploy.py` runs its steps."""

from __future__ import annotations

import http.server
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.deployment import DEPLOY, ROOT, build_context, copied, reaches_builder, stages
from support.ports import free_port

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.M)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    build_context(folder)
    return folder


def test_what_is_copied_reaches_the_builder(context: Path) -> None:
    sources = [source for stage in stages() for source, _ in copied(stage)]

    assert sources
    assert [s for s in sources if not (context / s).exists()] == []


def test_nothing_but_what_is_copied_reaches_the_builder(context: Path) -> None:
    """Then no secret beside the sources can get into a layer, or into the builder's cache."""
    sources = {source for stage in stages() for source, _ in copied(stage)}
    top = {str(p.relative_to(context)) for p in context.rglob("*") if p.is_file()}

    assert [t for t in top if t not in sources and t.split("/")[0] not in sources] == []
    assert not [t for t in top if t.startswith(("tests", ".git", "docs")) or ".env" in t]


@pytest.mark.parametrize(
    "name",
    [
        *("deploy/.env", "deploy/kubernetes/secret.env", "worker/.env", ".env.local"),
        *(
            ".git/config",
            ".venv/bin/python",
            ".milepost/appendonlydir/x",
            "flights-out/x",
            "tests/x",
        ),
        *("deploy/example/hello.py", "control/milepost/control/__pycache__/cli.cpython-311.pyc"),
    ],
)
def test_what_is_private_or_made_does_not_reach_the_builder(name: str) -> None:
    assert not reaches_builder(Path(name))


def test_the_base_is_one_python_of_one_debian() -> None:
    text = (DEPLOY / "Dockerfile").read_text()

    assert re.search(r"^ARG BASE=python:3\.11-slim-[a-z]+$", text, re.M)
    assert [s[0].value[0] for s in stages()] == ["${BASE}", "${BASE}"]


def test_the_image_runs_as_nobody_in_particular() -> None:
    final = {command.cmd: command for command in stages()[-1]}

    user, _, group = final["USER"].value[0].partition(":")
    # Numbers, because Kubernetes cannot tell whether a name is root.
    assert int(user) >= 10000
    assert int(group) >= 10000
    assert final["STOPSIGNAL"].value == ("SIGTERM",)
    # -g would send SIGTERM to the pool processes, too.
    assert final["ENTRYPOINT"].value == ("tini", "--", "milepost")
    assert final["ENTRYPOINT"].json


def test_the_last_stage_installs_tini_and_nothing_else() -> None:
    runs = " ".join(c.value[0] for c in stages()[-1] if c.cmd == "RUN")
    installed = re.findall(r"apt-get install ([^&]*)", runs)

    assert [i.split() for i in installed] == [["-y", "--no-install-recommends", "tini"]]
    assert "pip" not in runs
    assert "curl" not in runs


def test_no_secret_is_built_in() -> None:
    settings = [c.value for stage in stages() for c in stage if c.cmd in {"ARG", "ENV"}]

    assert not re.search(r"password|secret|token|key", str(settings), re.I)
    assert not [c for stage in stages() for c in stage if c.cmd == "ADD"]


@pytest.mark.parametrize("name", ["requirements.lock", "build.lock"])
def test_the_images_versions_are_those_tested(name: str) -> None:
    tested = dict(_PIN.findall((ROOT / "requirements.lock").read_text()))
    text = (DEPLOY / name).read_text()
    pinned = dict(_PIN.findall(text))

    assert pinned
    assert {n: v for n, v in pinned.items() if tested.get(n) != v} == {}
    assert text.count("--hash=sha256:") >= len(pinned)


def test_the_lock_has_all_that_the_extras_need() -> None:
    makefile = (ROOT / "Makefile").read_text()
    extras = re.findall(r"^IMAGE_EXTRAS := (.*)$", makefile, re.M)[0].split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(r for e in extras for r in _requirements(project, e))]
    pinned = dict(_PIN.findall((DEPLOY / "requirements.lock").read_text()))

    assert {"s3", "postgres", "api", "flower", "metrics"} <= {*extras}
    for requirement in map(Requirement, wanted):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, (
            f"run make lock: {requirement} is not in deploy/requirements.lock"
        )
        assert version in requirement.specifier, f"run make lock: {requirement}, {version}"


def _requirements(project: dict[str, dict[str, list[str]]], extra: str) -> Iterator[str]:
    for each in project["optional-dependencies"][extra]:
        requirement = Requirement(each)
        if requirement.name == "milepost":
            for inner in requirement.extras:
                yield from _requirements(project, inner)
        else:
            yield each


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


def test_the_health_check_tells_well_from_ill_from_gone() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        well = _check(f"http://127.0.0.1:{server.server_port}/healthz")
        ill = _check(f"http://127.0.0.1:{server.server_port}/readyz")
    finally:
        server.shutdown()
        server.server_close()
    gone = _check(f"http://127.0.0.1:{free_port()}/healthz")

    assert (well.returncode, well.stderr) == (0, "")
    assert (ill.returncode, gone.returncode) == (1, 1)
    assert "/readyz answers 503" in ill.stderr
    assert "does not answer" in gone.stderr


def _check(url: str) -> subprocess.CompletedProcess[str]:
    health = next(c for c in stages()[-1] if c.cmd == "HEALTHCHECK")
    _, _, options, script, default = health.value
    assert (options, Path(script).name) == ("-IS", "healthcheck.py")
    assert default == "http://127.0.0.1:9100/healthz"
    command = [sys.executable, options, str(DEPLOY / "healthcheck.py"), url]
    # A proxy of the environment has no say in what is on this host.
    env = {"http_proxy": "http://127.0.0.1:1"}
    return subprocess.run(command, capture_output=True, text=True, env=env)
