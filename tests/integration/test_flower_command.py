"""``milepost flower``: what it refuses, what it keeps to itself, and what it works with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest

from acceptance.pipelines import build
from milepost.worker import EmbeddedServer
from support.flower_server import FlowerServer
from support.processes import IMPORTS, Worker
from support.redis_server import RedisServer
from support.waiting import eventually

SECRET = "hunter2-and-more"
NOWHERE = "redis://127.0.0.1:1/0"


def refused(*words: str, **env: str) -> str:
    """What the command says on stderr before it ends with exit code 2."""
    done = subprocess.run(
        [sys.executable, "-m", "milepost.control.cli", "flower", *words],
        env={**os.environ, "PYTHONPATH": IMPORTS, "MILEPOST_URL": NOWHERE, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, ""), done
    return done.stderr


@pytest.mark.fault("S18")
@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["--address=0.0.0.0"], {}),
        (["--address", "::"], {}),
        (["--address="], {}),
        (["--address=198.51.100.7"], {}),
        ([], {"FLOWER_ADDRESS": "0.0.0.0"}),
        (["--address=0.0.0.0"], {"FLOWER_UNAUTHENTICATED_API": "true"}),
    ],
)
def test_strangers_are_not_let_in(words: list[str], env: dict[str, str]) -> None:
    """One line says what to do; nothing listens."""
    said = refused(*words, **env)

    assert said.startswith("milepost: Flower would listen on ")
    assert "FLOWER_BASIC_AUTH=user:password" in said
    assert said.count("\n") == 1


def test_nor_by_a_configuration_file(tmp_path: Path) -> None:
    """Whatever names the address, it is the one that counts."""
    (tmp_path / "open.py").write_text("address = '0.0.0.0'")
    (tmp_path / "broken.py").write_text("1 / 0")

    assert "listen on 0.0.0.0" in refused(f"--conf={tmp_path / 'open.py'}")
    assert "ZeroDivisionError" in refused(f"--conf={tmp_path / 'broken.py'}")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([f"--basic-auht=me:{SECRET}"], "Flower has no option --basic-auht"),
        ([f"me:{SECRET}"], "Flower takes options only"),
        (["--basic-auth="], "has to be user:password"),
        (["--basic-auth", "me:"], "has to be user:password"),
        (["--basic-auth", f":{SECRET}"], "has to be user:password"),
        (["--port"], "Flower's option --port needs a value"),
        (["--port=http"], "invalid literal"),
        (["--address=no.such.host.invalid"], "is unknown here"),
    ],
)
def test_options_that_are_none(words: list[str], says: str) -> None:
    """Flower itself would pass over them in silence, and be open."""
    said = refused(*words)

    assert says in said
    assert SECRET not in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--address=0.0.0.0", "--basic-auth=me:pw"],
        ["--address=0.0.0.0", "--auth=me@example.com", "--auth-provider=flower.views.auth.X"],
        ["--unix-socket=/somewhere"],
        ["--address=localhost", "--read-only"],
        [],
    ],
)
def test_who_knows_the_users_may_listen_anywhere(words: list[str]) -> None:
    """Options are judged before anything is opened."""
    judged = f"from milepost.control.flower_server import FlowerServer; FlowerServer({words})"
    env = {**os.environ, "PYTHONPATH": IMPORTS}

    subprocess.run([sys.executable, "-c", judged], env=env, check=True, timeout=60)


def test_without_flower_the_extra_is_named() -> None:
    """And the rest of the command line works."""
    hidden = (
        "import sys; sys.modules['flower'] = None; from milepost.control.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", hidden, "flower"],
        env={**os.environ, "PYTHONPATH": IMPORTS, "MILEPOST_URL": NOWHERE},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 2
    assert done.stderr == "milepost: Flower needs an extra: pip install 'milepost[flower]'.\n"


def test_a_port_that_is_taken(tmp_path: Path, redis_server: RedisServer) -> None:
    """One line."""
    said = refused(f"--port={redis_server.port}")

    assert f"Flower cannot listen on 127.0.0.1:{redis_server.port}: " in said
    assert said.count("\n") == 1


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that wants a password."""
    with RedisServer("--requirepass", SECRET) as server:
        yield server


def secret_url(server: RedisServer) -> str:
    return f"redis://:{SECRET}@127.0.0.1:{server.port}/0"


def test_the_brokers_password_stays_inside(locked: RedisServer, tmp_path: Path) -> None:
    """Not on a page, not in the API, not in the log; not when the broker goes away either."""
    env = {"MILEPOST_URL": secret_url(locked), "TEST_LEDGER": str(tmp_path / "ledger")}
    with (
        Worker("acceptance.worker_app", tmp_path, env) as worker,
        FlowerServer(tmp_path, {**env, "FLOWER_DEBUG": "true"}) as flower,
    ):
        worker.wait_ready()
        eventually(lambda: flower.call("workers?refresh=true"), 15, flower.log.read_text)
        eventually(lambda: "conf" in str(flower.call("workers?refresh=true")), 15)
        shown = [flower.page(path) for path in ("/broker", "/workers", f"/worker/{worker.name}")]
        assert "milepost" in shown[0]
        shown.append(str(flower.call("workers?refresh=true")))
        locked.kill()
        flower.page("/broker")
        eventually(lambda: "trying again" in flower.log.read_text(), 20, flower.log.read_text)
        assert SECRET not in "".join([*shown, flower.log.read_text(), worker.text()])
        assert flower.end() == 0


def test_read_only(redis_url: str, tmp_path: Path) -> None:
    """Nothing can be sent, and nothing revoked."""
    with FlowerServer(tmp_path, {"MILEPOST_URL": redis_url}, "--read-only") as flower:
        assert flower.call("tasks") == {}
        for path in ("send-task/milepost.retry", "async-apply/milepost.retry", "revoke/some-id"):
            with pytest.raises(HTTPError, match="403"):
                flower.call(f"task/{path}", {"args": ["some-run"]})


def test_without_a_user_the_api_is_closed(redis_url: str, tmp_path: Path) -> None:
    """Pages on loopback are for who is on this host; what changes something is for nobody."""
    with FlowerServer(tmp_path, {"MILEPOST_URL": redis_url}, user=False) as flower:
        assert flower.status("/workers") == 200
        assert flower.status("/api/tasks") == 401


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(signum: int, redis_url: str, tmp_path: Path) -> None:
    """With exit code 0 and no traceback, and with its state saved, where that is wanted."""
    state = tmp_path / "state"
    options = ("--persistent", f"--db={state}")
    with FlowerServer(tmp_path, {"MILEPOST_URL": redis_url}, *options) as flower:
        assert flower.end(signum) == 0
        assert "Traceback" not in flower.log.read_text()
    assert [*tmp_path.glob("state*")]


def test_the_embedded_server(tmp_path: Path) -> None:
    """Without a module and without anything running, Flower brings it up; its broker page works."""
    env = {"MILEPOST_HOME": str(tmp_path / "home"), "TEST_LEDGER": str(tmp_path / "ledger")}
    server = EmbeddedServer(tmp_path / "home")
    try:
        with FlowerServer(tmp_path, env) as flower:
            app = build({**env, "MILEPOST_URL": server.url})
            for _ in range(3):
                app.start("relay", {})
            assert flower.call("queues/length")["active_queues"] == [
                {"name": "milepost", "messages": 3}
            ]
            assert "milepost" in flower.page("/broker")
            with Worker("acceptance.worker_app", tmp_path, env) as worker:
                worker.wait_ready()
                eventually(lambda: flower.states("relay.fourth"), 15, flower.log.read_text)
                assert "Traceback" not in flower.log.read_text()
            app.close()
            app.celery.close()
    finally:
        server.stop()


def test_rabbitmq(rabbitmq_url: str, redis_url: str, tmp_path: Path) -> None:
    """Tasks are seen; of queues nothing, as long as nobody names the management API."""
    env = {
        "MILEPOST_URL": rabbitmq_url,
        "MILEPOST_RUNS": redis_url,
        "TEST_LEDGER": str(tmp_path / "ledger"),
        "TEST_QUEUE": "watched",
    }
    app = build(env)
    with (
        Worker("acceptance.worker_app", tmp_path, env) as worker,
        FlowerServer(tmp_path, env, app="acceptance.worker_app") as flower,
    ):
        worker.wait_ready()
        eventually(lambda: flower.call("workers?status=true"), 15, flower.log.read_text)
        run = app.start("relay", {})
        run.wait(15)
        wanted = {f"relay.{n}": "SUCCESS" for n in ("first", "second", "third", "fourth")}
        eventually(lambda: flower.states(run.id) == wanted, 15, flower.log.read_text)
        flower.send("milepost.cancel", {"args": [run.id]})
        refused = f"milepost.cancel state:FAILURE {run.id}"
        eventually(lambda: flower.search(refused), 15, flower.log.read_text)
        assert "guest:guest" not in flower.page("/broker") + flower.log.read_text()
        assert flower.end() == 0
    app.close()
    app.celery.close()
