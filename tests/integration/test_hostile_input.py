"""What somebody with bad intent puts into stores, queues, names and queries: nothing of it is carried out."""

from __future__ import annotations

import json
import pickle
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milepost.checkpointing import (
    CheckpointManager,
    CheckpointMetadata,
    Corrupt,
    InvalidName,
    Kind,
    Record,
    Unprotected,
    open_store,
)
from milepost.checkpointing.compression import Compression
from milepost.checkpointing.envelope import CodecId, seal
from milepost.tasks import Milepost, RunQuery
from milepost.tasks.runs.base import RunStore
from milepost.tasks.runs.sql import SQLRunStore
from milepost.tasks.testing.case import created, new_head
from support.processes import IMPORTS, Worker
from support.s3_server import SeaweedServer, store_url
from support.waiting import eventually

HOSTILE_IDS = ["run*", "run?", "[a-z]", "{run}", "a\r\nFLUSHALL\r\n", "a b", "../x", "/abs", "a\0b"]


class Bomb:
    """Leaves a mark where it is loaded."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self._mark,))


@pytest.fixture(params=["memory", "redis", "file", "sqlite", "postgres", "s3"])
def url(
    request: pytest.FixtureRequest, redis_url: str, tmp_path: Path, seaweed_server: SeaweedServer
) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return {
        "memory": "memory://",
        "redis": redis_url,
        "file": f"file://{tmp_path}/log",
        "sqlite": f"sqlite:///{tmp_path}/log.db",
        "s3": store_url(seaweed_server.endpoint, uuid4().hex),
    }[request.param]


@pytest.mark.fault("S1")
@pytest.mark.parametrize("codec", [*CodecId, 9], ids=str)
def test_a_pickle_in_a_store_is_not_loaded(url: str, tmp_path: Path, codec: CodecId | int) -> None:
    """Whatever codec its envelope claims; nor is another tried when the one it claims does not fit."""
    mark = tmp_path / "exploded"
    body = pickle.dumps((Bomb(mark), [], [], {}))
    metadata = CheckpointMetadata(run_id="run", sequence=0, kind=Kind.MANUAL)
    header = seal(
        metadata.model_dump_json(exclude_none=True).encode(),
        body,
        codec=CodecId.PICKLE if codec == 9 else CodecId(codec),
        compression=Compression.NONE,
        inflated_bytes=len(body),
    )
    if codec == 9:
        header = b""
    store = open_store(url)
    with CheckpointManager(store) as manager:
        store.put(Record(metadata.key, header, body))
        with pytest.raises((Corrupt, Unprotected)):
            manager.restore("run")
    assert not mark.exists()


@pytest.mark.fault("S1")
def test_a_pickle_on_the_queue_is_not_loaded(redis_url: str, tmp_path: Path) -> None:
    """It is put aside; and so is one that calls itself JSON."""
    mark = tmp_path / "exploded"
    body = b64encode(pickle.dumps(([Bomb(mark)], {}, {}))).decode()
    env = {"MILEPOST_URL": redis_url, "TEST_LEDGER": str(tmp_path / "l"), "TEST_ANTIDOTE": ""}
    with (
        closing(Milepost(redis_url)) as app,
        redis.Redis.from_url(redis_url) as client,
        Worker("acceptance.worker_app", tmp_path, env) as worker,
    ):
        worker.wait_ready()
        app.pipeline("relay").stage(name="first")(lambda state: state)
        message: dict[str, Any] = {
            "body": body,
            "content-encoding": "binary",
            "headers": {"lang": "py", "task": "relay.first", "id": "x", "root_id": "x"},
            "properties": {
                "correlation_id": "x",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "milepost"},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": "x",
            },
        }
        for number, kind in enumerate(("application/x-python-serialize", "application/json"), 1):
            client.lpush("milepost", json.dumps({**message, "content-type": kind}))
            eventually(lambda n=number: len(app.runs.aside()) == n, 15, worker.text)  # type: ignore[misc]
        assert worker.exit_code is None
        app.celery.close()
    assert not mark.exists()


@pytest.mark.fault("S5", "S7")
@pytest.mark.parametrize("name", HOSTILE_IDS)
def test_a_hostile_id_reaches_no_store(url: str, name: str) -> None:
    """Not one command or file of it."""
    with CheckpointManager(url) as manager:
        manager.create("stands", 1)
        for call in (
            lambda: manager.create(name, 1),
            lambda: manager.restore(name),
            lambda: manager.list_checkpoints(name),
            lambda: manager.delete_run(name),
        ):
            with pytest.raises(InvalidName):
                call()
        assert manager.store.runs().items == ("stands",)


@pytest.mark.fault("S5")
@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "%2e%2e", "a\nb", "run.", "а"])
def test_a_hostile_id_on_the_command_line(redis_url: str, tmp_path: Path, name: str) -> None:
    env = {"PATH": "/usr/bin", "PYTHONPATH": IMPORTS, "MILEPOST_URL": redis_url}
    for words in (("status", name), ("cancel", name), ("checkpoints", name)):
        command = [sys.executable, "-m", "milepost.control.cli", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2
        assert "is not a valid run id" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.fault("S7")
def test_what_redis_is_asked_is_scripts_with_keys(redis_url: str) -> None:
    """No search over keys, no text of a run as part of a script, every key below one name."""
    app = Milepost(redis_url)
    line = app.pipeline("line")
    for name in "ab":
        line.stage(name=name)(lambda state: state)
    with closing(app), redis.Redis.from_url(redis_url) as client:
        app.start("line", {"n": 1}, run_id="warm")
        with client.monitor() as monitor:
            run = app.start("line", {"evil": "redis.call('FLUSHALL') ]] --"}, run_id="run-1")
            for _ in "ab":
                app.runtime.engine.execute("line", run.head.step)
            app.runs.find(RunQuery(tag="x", pipeline="line"), limit=10)
            app.runtime.reconciler.look()
            run.delete()
            with redis.Redis.from_url(redis_url) as other:
                other.echo("done")
            seen: list[str] = []
            for found in monitor.listen():
                if found["command"].startswith("ECHO done"):
                    break
                if found["client_type"] != "lua":
                    seen.append(found["command"])
        names = {command.split()[0].upper() for command in seen}
        assert "EVALSHA" in names
        assert names.isdisjoint({"KEYS", "SCAN", "EVAL", "FLUSHDB", "FLUSHALL"})
        loaded = [command for command in seen if command.upper().startswith("SCRIPT LOAD")]
        assert not [text for text in loaded if "run-1" in text or "evil" in text]
        keys = {key.decode() for key in client.scan_iter()}
        assert {key.split(":")[0] for key in keys} <= {"milepost", "_kombu.binding.milepost"}
        app.celery.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunStore]:
    if request.param == "sqlite":
        store = SQLRunStore(f"sqlite:///{tmp_path_factory.mktemp('runs')}/runs.db")
    else:
        server = request.getfixturevalue("postgres_server")
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        store = SQLRunStore(server.url)
    created(store, new_head("stands"))
    yield store
    store.close()


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
EVIL = st.sampled_from(["' OR 1=1 --", '"; DROP TABLE milepost_runs; --', "%", "_", "\\", "x' --"])


@pytest.mark.fault("S8")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    value=EVIL | TEXT.filter(bool), field=st.sampled_from(["pipeline", "stage", "tag", "tenant"])
)
def test_a_filter_is_a_value_and_never_a_part_of_the_query(
    runs: RunStore, value: str, field: str
) -> None:
    """What is asked for is found as it is written, and nothing else; the tables stand."""
    query = RunQuery(**{field: value})  # type: ignore[arg-type]
    assert runs.find(query).items == ()
    assert [head.run_id for head in runs.find(RunQuery()).items] == ["stands"]


@pytest.mark.fault("S8")
@pytest.mark.parametrize("field", ["status; DROP TABLE x", "1=1", "order_by", "run_id"])
def test_filters_are_of_a_fixed_set(field: str) -> None:
    with pytest.raises(TypeError):
        RunQuery(**{field: "x"})  # type: ignore[arg-type]


@pytest.mark.fault("S6")
def test_no_url_of_a_run_is_asked(redis_url: str) -> None:
    """Where stores are is said by settings alone: nobody connects to what a state, tag or command names."""
    with socket.create_server(("127.0.0.1", 0)) as trap, closing(Milepost(redis_url)) as app:
        trap.settimeout(0.01)
        place = f"127.0.0.1:{trap.getsockname()[1]}"
        app.pipeline("line").stage(name="go")(lambda state: state)
        evil = {name: f"{name}://{place}/0" for name in ("redis", "http", "s3", "postgresql")}
        evil["endpoint_url"] = f"http://{place}"
        run = app.start("line", {**evil, "checkpoints": evil["s3"]}, run_id="run-1")
        app.runtime.engine.execute("line", run.head.step)
        run.rewind("go")
        run.edit(patch={"runs": evil["redis"]})
        app.runtime.engine.execute("line", run.head.step)
        assert run.state["runs"] == evil["redis"]
        with pytest.raises(TimeoutError):
            trap.accept()
        app.celery.close()
