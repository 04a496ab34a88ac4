"""Canaries in every setting, in errors and in logs: none may come out anywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from celery import Celery

from support.ports import free_port
from support.processes import Worker
from support.redis_server import RedisServer
from support.s3_server import BUCKET, MotoServer
from support.shell import COMMAND, environment, milepost
from support.status_page import StatusPage
from support.waiting import eventually

APP = "acceptance.secret_app"
CANARIES = {
    "redis": "Canary:R3dis@pw/1",
    "signing": "Canary-signing-key-0123456789",
    "encryption": b64encode(b"Canary-encryption-key-0123456789").decode(),
    "aws_id": "AKIACANARYCANARY1234",
    "aws_secret": "Canary+Secret/AccessKey0123456789abcdef",
    "aws_token": "Canary-session-token-0123456789",
}


def leaks(text: str) -> list[str]:
    """Return each canary in *text*, whatever it is wrapped in."""
    forms = {form for value in CANARIES.values() for form in (value, quote(value, safe=""))}
    found = [form for form in forms if form in text]
    return found + re.findall(r"Unknown-canary-\d|Wrong-canary\w*", text)


class Site:
    """A Redis with a password, an S3 with keys, and an application that knows them all."""

    def __init__(self, server: RedisServer, moto: MotoServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        password = quote(CANARIES["redis"], safe="")
        self.url = server.url.replace("redis://", f"redis://:{password}@")
        self.spans = folder / "spans"
        self.env = {
            "MILEPOST_URL": self.url,
            "MILEPOST_RUNS": self.url,
            "MILEPOST_CHECKPOINTS": f"s3://{BUCKET}/secrets?endpoint_url={moto.endpoint}",
            "MILEPOST_SIGNING_KEY": CANARIES["signing"],
            "MILEPOST_ENCRYPTION_KEYS": f"k1:{CANARIES['encryption']}",
            "AWS_ACCESS_KEY_ID": CANARIES["aws_id"],
            "AWS_SECRET_ACCESS_KEY": CANARIES["aws_secret"],
            "AWS_SESSION_TOKEN": CANARIES["aws_token"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "MILEPOST_LOCK_DIRECTORY": str(folder),
            "TEST_CANARIES": json.dumps(CANARIES),
            "TEST_SPANS": str(self.spans),
        }

    def command(self, *words: str, **env: str) -> str:
        """Return all that a command prints."""
        done = milepost(self.folder, {**self.env, **env}, *words)
        return done.stdout + done.stderr

    def stored(self) -> str:
        """Return all that is in Redis."""
        with redis.Redis.from_url(
            self.url, decode_responses=True, encoding_errors="replace"
        ) as client:
            read: dict[str, Any] = {
                "hash": client.hgetall,
                "list": lambda key: client.lrange(key, 0, -1),
                "string": client.get,
                "set": client.smembers,
                "zset": lambda key: client.zrange(key, 0, -1),
            }
            return "\n".join(f"{key}: {read[client.type(key)](key)}" for key in client.scan_iter())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, moto_server: MotoServer) -> Iterator[Site]:
    with RedisServer("--requirepass", CANARIES["redis"]) as server:
        yield Site(server, moto_server, tmp_path_factory.mktemp("secrets"))


class Events:
    """What Flower would hear."""

    def __init__(self, url: str) -> None:
        self.heard: list[dict[str, Any]] = []
        self._celery = Celery(broker=url, set_as_current=False)
        self._connection = self._celery.connection_for_read()
        receiver = self._celery.events.Receiver(self._connection, handlers={"*": self.heard.append})
        self._receiver = receiver
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with suppress(OSError, redis.RedisError):
            self._receiver.capture(limit=None, timeout=None, wakeup=True)

    def types(self) -> set[str]:
        """The types of the events so far."""
        return {event["type"] for event in self.heard}

    def close(self) -> None:
        """Hear no more."""
        self._receiver.should_stop = True
        self._thread.join(5)
        self._connection.close()
        self._celery.close()


@pytest.mark.fault("S10")
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_canary_comes_out_of_a_fleet(site: Site, log_format: str) -> None:
    """Logs, heads, events, metrics, spans, and what commands tell of it."""
    page, events, run_id = StatusPage(), Events(site.url), f"run-{log_format}"
    env = {**site.env, **page.env, "MILEPOST_LOG_FORMAT": log_format}
    try:
        with Worker(APP, site.folder, env, name=log_format, concurrency=2) as worker:
            worker.wait_ready()
            out = [site.command("start", "leaky", "{}", "-A", APP, "--run-id", run_id, "--watch")]
            assert "failed" in out[0]
            eventually(lambda: {"task-failed", "task-retried"} <= events.types(), 10)
            client = redis.Redis.from_url(site.url)
            client.lpush("milepost", json.dumps({"stray": CANARIES["redis"]}))
            client.close()
            eventually(lambda: page.value("milepost_messages_put_aside_total") == 1)
            for words in (("status", run_id), ("status", run_id, "--json"), ("runs",)):
                out.append(site.command(*words, "-A", APP))
                assert run_id in out[-1]
            out.append(site.command("recover", "-A", APP, "--dry-run"))
            out.append(site.command("checkpoints", run_id, "-A", APP))
            for inspect in ("stats", "conf", "registered"):
                command = [sys.executable, "-m", "celery", "-A", APP, "inspect", inspect]
                out.append(
                    subprocess.run(
                        command,
                        cwd=site.folder,
                        env=environment(site.env),
                        capture_output=True,
                        text=True,
                    ).stdout
                )
            out.append(page.get("/metrics")[1])
            worker.terminate()
            worker.wait_exit()
            log = worker.text()
    finally:
        events.close()

    for name in CANARIES:
        assert f"{name.upper()} is here: ***" in log
    for place, text in {
        "log": log,
        "commands and metrics": "\n".join(out),
        "events": repr(events.heard),
        "Redis": site.stored(),
        "spans": site.spans.read_text(),
    }.items():
        assert leaks(text) == [], place
    assert "leaky.leak" in site.spans.read_text()
    assert "all of it: ***" in repr(events.heard)


CELERY = (sys.executable, "-m", "celery")
WRONG = "redis://:Wrong-canary%40pw@127.0.0.1"


@pytest.mark.fault("S10")
@pytest.mark.parametrize(
    ("words", "env"),
    [
        (("status", "x"), {"MILEPOST_URL": "{wrong}"}),
        (("status", "x"), {"MILEPOST_RUNS": f"{WRONG}:{{closed}}/0"}),
        (("runs",), {"MILEPOST_RUNS": "postgresql://me:Wrong-canary1@127.0.0.1:{closed}/db"}),
        (("runs",), {"MILEPOST_RUNS": "redis://:Wrong-canary@pw@[broken/0"}),
        (
            ("runs",),
            {"MILEPOST_URL": "amqp://me:Wrong-canary1@127.0.0.1:{closed}//", "MILEPOST_RUNS": ""},
        ),
        (("runs",), {"MILEPOST_SIGNING_KEY": "Wrong-canary"}),
        (("runs",), {"MILEPOST_ENCRYPTION_KEYS": "k1:Wrong-canary1"}),
        (
            ("checkpoints", "x"),
            {"MILEPOST_CHECKPOINTS": "s3://b/p?aws_secret_access_key=Wrong-canary1"},
        ),
        (("checkpoints", "x"), {"MILEPOST_CHECKPOINTS": "ftp://me:Wrong-canary1@host.invalid/"}),
        (("runs", "-A", "explodes"), {}),
        (("worker", "-A", APP), {"MILEPOST_RUNS": "{wrong}"}),
        (("worker", "-A", APP, "--strict"), {"MILEPOST_URL": f"{WRONG}:{{closed}}/0"}),
        (("worker", "-A", APP), {"MILEPOST_RUNS": f"{WRONG}:{{closed}}/0"}),
        (("worker", "-A", APP, "--log-format", "json"), {"MILEPOST_RUNS": "{wrong}"}),
        (("celery", "-A", APP, "worker"), {"MILEPOST_RUNS": "{wrong}"}),
        (
            ("celery", "-A", APP, "worker"),
            {"MILEPOST_URL": "{wrong}", "MILEPOST_LOG_FORMAT": "json"},
        ),
        (("worker", "-A", APP, "--log-format", "json"), {"MILEPOST_URL": "{wrong}"}),
    ],
)
def test_no_canary_comes_out_of_a_failure(
    site: Site, words: tuple[str, ...], env: dict[str, str]
) -> None:
    """Wrong passwords, servers that are away, settings that cannot be used, modules that explode."""
    (site.folder / "explodes.py").write_text(
        "raise RuntimeError('cannot log in: password=Unknown-canary-9 at redis://:Unknown-canary-8@h/0')"
    )
    wrong = site.server.url.replace("redis://", "redis://:Wrong-canary%40pw@")
    places = {"wrong": wrong, "closed": str(free_port())}
    given = {
        **site.env,
        "MILEPOST_STORE_RETRIES": "0",
        **{name: value.format(**places) for name, value in env.items()},
    }
    process = subprocess.Popen(
        [*(CELERY if words[0] == "celery" else COMMAND), *words[words[0] == "celery" :]],
        cwd=site.folder,
        env=environment(given),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        text, _ = process.communicate(timeout=12)
    except subprocess.TimeoutExpired:
        # A worker goes on trying; what it has said until now is enough.
        os.kill(process.pid, 9)
        text, _ = process.communicate()

    assert text.strip()
    assert leaks(text) == []
