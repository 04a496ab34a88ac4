"""The image's steps and the compose file's commands, carried out on this machine instead of in containers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.config import Config

from support.deployment import DEPLOY, seconds, stages
from support.image import Image
from support.ports import free_port
from support.requirement import need_program
from support.stack import Stack
from support.waiting import eventually

_KEY = ("keys", "create", "operator", "--scope", "admin")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("image")
    image = Image(folder)
    image.build()
    yield image
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder) as stack:
        yield stack
    shutil.rmtree(folder)


def _in_image(
    image: Image,
    *command: str,
    env: dict[str, str] | None = None,
    folder: Path = DEPLOY / "example",
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command],
        cwd=folder,
        env={**image.environment, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_image_holds_milepost_and_what_it_can_do(image: Image) -> None:
    version = _in_image(image, image.program, "--version")
    imports = "boto3, psycopg, fastapi, uvicorn, flower, prometheus_client, cryptography, msgpack"

    assert version.returncode == 0, version.stderr
    done = _in_image(image, "python", "-c", f"import {imports}, opentelemetry, pythonjsonlogger")
    assert done.returncode == 0, done.stderr
    pip = (str(image.base / "bin/pip"), "--python", str(image.home / "bin/python"))
    assert "No broken requirements" in _in_image(image, *pip, "check").stdout


def test_the_image_holds_nothing_else(image: Image) -> None:
    """Neither what built it, nor what tests it, nor what is around it."""
    packages = next(image.home.glob("lib/python3*/site-packages"))
    names = {path.name.partition("-")[0].lower() for path in packages.iterdir()}
    programs = {path.name for path in (image.home / "bin").iterdir()}

    assert not names & {"pip", "setuptools", "hatchling", "uv", "pytest", "moto", "mypy", "ruff"}
    assert not programs & {"pip", "gcc", "cc", "ld", "make", "git", "curl"}
    assert {p.name for p in (packages / "milepost").iterdir()} == {
        *("checkpointing", "tasks", "worker", "control")
    }
    assert not [p for p in (packages / "milepost").rglob("*") if p.name.startswith("test_")]
    assert {p.name for p in image.home.parent.iterdir()} == {"milepost"}
    assert not [p for p in image.home.rglob("*") if p.name.startswith(".env")]
    assert (image.home / "healthcheck.py").is_file()
    # Of a hundred megabytes more, somebody should know.
    assert sum(p.lstat().st_size for p in image.home.rglob("*")) < 250 * 2**20


def test_valkey_is_told_its_password_in_private(stack: Stack) -> None:
    password = stack.services["valkey"]["environment"]["VALKEY_PASSWORD"]
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout

    wrong = stack.run("valkey", ["valkey-cli", "ping"])
    asked = 'REDISCLI_AUTH="$VALKEY_PASSWORD" valkey-cli --raw config get "$0"'
    found = {
        name: stack.run("valkey", ["sh", "-c", asked, name]).stdout.split()[1:]
        for name in ("appendonly", "maxmemory-policy", "maxmemory")
    }

    assert "NOAUTH" in wrong.stdout
    assert password not in lines
    assert found == {
        "appendonly": ["yes"],
        "maxmemory-policy": ["noeviction"],
        "maxmemory": [str(640 * 2**20)],
    }


def test_the_bucket_is_made_once_and_only_for_who_has_the_key(stack: Stack) -> None:
    for _ in range(2):
        done = stack.make_bucket()
        assert done.returncode == 0, done.stdout + done.stderr

    assert _buckets(stack) == ["milepost"]
    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        _buckets(stack, secret="wrong")


@contextmanager
def _worker(
    image: Image,
    stack: Stack,
    *before: str,
    port: int,
    app: str = "hello",
    folder: Path = DEPLOY / "example",
) -> Iterator[subprocess.Popen[bytes]]:
    command = [*before, image.program, *stack.services["worker"]["command"]]
    env = {
        **image.environment,
        **stack.environment("worker"),
        "MILEPOST_METRICS_HOST": "127.0.0.1",
        "MILEPOST_METRICS_PORT": str(port),
        "MILEPOST_LOCK_DIRECTORY": str(stack.folder),
        "MILEPOST_APP": app,
    }
    with (stack.folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(seconds(stack.services["worker"]["stop_grace_period"]))
            finally:
                process.kill()


def test_the_stack_runs_a_pipeline_and_stops_in_time(image: Image, stack: Stack) -> None:
    assert stack.make_bucket().returncode == 0
    env = {**stack.environment("worker"), "MILEPOST_LOCK_DIRECTORY": str(stack.folder)}

    with _worker(image, stack, port=free_port()) as worker:
        arguments = ("start", "hello", '{"name": "Ada"}', "--watch")
        run = _in_image(image, image.program, *arguments, env=env)
        assert run.returncode == 0, run.stdout + run.stderr + stack.log("worker")
        eventually(lambda: "Hello, Ada!" in stack.log("worker"), 10, "the greeting")
        assert _objects(stack) >= 3
        worker.terminate()
        assert worker.wait(20) == 0, stack.log("worker")
    for secret in re.findall(r"=(\w{20,})", (stack.folder / "compose.env").read_text()):
        assert secret not in stack.log("worker")


_ORPHANS = """
import subprocess
import time

from milepost.tasks import Context, Milepost

app = Milepost()
orphans = app.pipeline("orphans")


@orphans.stage
def leave(state: dict) -> dict:
    subprocess.run(["sh", "-c", "sleep 0.1 & echo $! > orphan"], check=True)
    return state


@orphans.stage
def wait(state: dict, ctx: Context) -> dict:
    ctx.log.warning("waiting")
    while not ctx.stopping:
        time.sleep(0.05)
    return state
"""


def test_as_in_a_container_orphans_are_buried_and_sigterm_drains(
    image: Image, stack: Stack, tmp_path: Path
) -> None:
    """The entry point as process 1 of a process namespace, as an engine would start it."""
    namespace = (need_program("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc")
    if subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("this machine gives no process namespace")
    (entry,) = [c.value for c in stages()[-1] if c.cmd == "ENTRYPOINT"]
    tini = (need_program(entry[0]), *entry[1:-1])
    assert stack.make_bucket().returncode == 0
    (tmp_path / "orphans.py").write_text(_ORPHANS)
    place = {"app": "orphans", "folder": tmp_path, "port": free_port()}

    with _worker(image, stack, *namespace, *tini, **place) as unshare:  # type: ignore[arg-type]
        env = {**stack.environment("worker"), "MILEPOST_APP": "orphans"}
        arguments = (image.program, "start", "orphans", "{}")
        run = _in_image(image, *arguments, env=env, folder=tmp_path)
        assert run.returncode == 0, run.stderr
        eventually(lambda: "waiting" in stack.log("worker"), 20, lambda: stack.log("worker"))
        (first,) = psutil.Process(unshare.pid).children()
        assert first.name() == "tini"
        eventually(lambda: not _sleepers(first), 5, "the orphan's burial")
        first.terminate()
        # The stage sees ctx.stopping and ends; the run goes on at whoever comes next.
        assert unshare.wait(20) == 0, stack.log("worker")
    assert (tmp_path / "orphan").exists()
    assert "Warm shutdown" in stack.log("worker")
    assert "exited prematurely" not in stack.log("worker")


def _sleepers(process: psutil.Process) -> list[psutil.Process]:
    """What is left of the command that the stage ran in the background, dead or alive."""
    return [p for p in process.children(recursive=True) if p.name() == "sleep"]


def test_the_images_health_check_sees_a_worker(image: Image, stack: Stack) -> None:
    health = next(c for c in stages()[-1] if c.cmd == "HEALTHCHECK")
    port = free_port()
    command = [part.replace("/opt/milepost", str(image.home)) for part in health.value[1:]]
    command = [part.replace("9100", str(port)) for part in command]

    with _worker(image, stack, port=port):
        eventually(lambda: _in_image(image, *command).returncode == 0, 20, "a healthy worker")
    assert _in_image(image, *command).returncode == 1


@pytest.mark.fault("S18")
def test_flower_wants_a_password(image: Image, stack: Stack) -> None:
    port = free_port()
    arguments = [a.replace("5555", str(port)) for a in stack.services["flower"]["command"]]
    env = {**image.environment, **stack.environment("flower")}
    health = f"http://127.0.0.1:{port}/healthcheck"
    check = ("python", "-IS", str(image.home / "healthcheck.py"))
    without = {k: v for k, v in env.items() if k != "FLOWER_BASIC_AUTH"}

    refused = subprocess.run(
        [image.program, *arguments], cwd=DEPLOY / "example", env=without, capture_output=True
    )
    with subprocess.Popen([image.program, *arguments], cwd=DEPLOY / "example", env=env) as flower:
        try:
            eventually(lambda: _in_image(image, *check, health).returncode == 0, 30, "Flower")
            workers = _in_image(image, *check, f"http://127.0.0.1:{port}/workers")
        finally:
            flower.terminate()

    assert refused.returncode == 2
    assert "answers 401" in workers.stderr


def test_the_api_wants_a_key_before_it_starts(image: Image, stack: Stack) -> None:
    port = free_port()
    arguments = [a.replace("8400", str(port)) for a in stack.services["api"]["command"]]
    env = {**image.environment, **stack.environment("api")}
    folder = DEPLOY / "example"
    check = ("python", "-IS", str(image.home / "healthcheck.py"))
    health = stack.services["api"]["healthcheck"]["test"][-1].replace("8400", str(port))
    assert stack.make_bucket().returncode == 0

    refused = subprocess.run(
        [image.program, *arguments], cwd=folder, env=env, capture_output=True, text=True
    )
    made = _in_image(image, image.program, *_KEY, env=stack.environment("worker"))
    with subprocess.Popen([image.program, *arguments], cwd=folder, env=env) as api:
        try:
            eventually(lambda: _in_image(image, *check, health).returncode == 0, 30, "the API")
            runs = _in_image(image, *check, f"http://127.0.0.1:{port}/v1/runs")
        finally:
            api.terminate()

    # So that Compose and Kubernetes try again, and systemd does not.
    assert refused.returncode == 2
    assert "keys create" in refused.stderr
    assert made.returncode == 0, made.stderr
    assert "answers 401" in runs.stderr


def _client(stack: Stack, secret: str | None = None) -> object:
    env = stack.environment("worker")
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{stack.ports['s3.port']}",
        region_name="us-east-1",
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret or env["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def _buckets(stack: Stack, secret: str | None = None) -> list[str]:
    listed = _client(stack, secret).list_buckets()  # type: ignore[attr-defined]
    return [bucket["Name"] for bucket in listed["Buckets"]]


def _objects(stack: Stack) -> int:
    listed = _client(stack).list_objects_v2(  # type: ignore[attr-defined]
        Bucket="milepost", Prefix="checkpoints/"
    )
    return int(listed["KeyCount"])


def test_python_of_the_tests_is_that_of_the_image() -> None:
    """Otherwise the image would run on what nobody has tried."""
    base = (DEPLOY / "Dockerfile").read_text()

    assert f"python:{sys.version_info.major}.{sys.version_info.minor}-slim" in base
