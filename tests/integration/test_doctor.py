"""Each check finds what is wrong on real servers that are set up badly, and nothing on good ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from moto.s3.models import S3Backend

from milepost.tasks import Milepost
from milepost.worker import EmbeddedServer
from milepost.worker.checks.base import Check, Finding, Verdict
from milepost.worker.checks.checkpoint_store import OneWinner, RoundTrip
from milepost.worker.checks.database import DatabaseDurability
from milepost.worker.checks.embedded_disk import EmbeddedDisk, filesystem_of
from milepost.worker.checks.examination import CHECKS, examine
from milepost.worker.checks.redis_server import (
    RedisDurability,
    RedisMemory,
    RedisRole,
    RedisVersion,
)
from milepost.worker.checks.site import RedisServer as SiteServer
from milepost.worker.checks.site import Site
from support.ports import free_port
from support.redis_server import RedisServer
from support.s3_server import MotoServer, SeaweedServer, store_url
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("only_own_tasks")
OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL


@contextmanager
def site(*args: Any, **options: Any) -> Iterator[Site]:
    with closing(Milepost(*args, **options)) as app, closing(Site(app)) as found:
        yield found


def found(check: type[Check], at: Site) -> list[Finding]:
    return [*check().examined(at)]


def verdicts(check: type[Check], at: Site) -> list[Verdict]:
    return [finding.verdict for finding in found(check, at)]


def one(check: type[Check], at: Site) -> tuple[Verdict, str]:
    findings = found(check, at)
    assert len(findings) == 1, findings
    [finding] = findings
    return finding.verdict, str(finding)


def test_a_good_site_has_no_failure(redis_url: str) -> None:
    with closing(Milepost(redis_url)) as app:
        app.pipeline("line").stage(name="only")(lambda state: state)
        findings = [*examine(app)]
        assert app.runs.find().items == ()

    assert {finding.check for finding in findings} == {check.name for check in CHECKS}
    assert [finding for finding in findings if finding.verdict is FAIL] == []
    # No worker is up, and nobody has looked.
    assert {f.check for f in findings if f.verdict is WARN} == {"workers", "reconciler"}
    with redis.Redis.from_url(redis_url) as client:
        assert not [*client.scan_iter("*doctor*", 1_000)], "probes are left"


def test_a_store_that_is_away(redis_url: str) -> None:
    with closing(Milepost("redis://:hunter2@127.0.0.1:1/0")) as app:
        [finding] = examine(app)
    assert (finding.check, finding.verdict) == ("stores", FAIL)
    assert "redis://:***@127.0.0.1:1/0 does not answer" in finding.says


def test_a_store_that_goes_away_meanwhile_fails_its_checks() -> None:
    with RedisServer() as server, site(server.url) as there:
        server.kill()
        assert one(RedisMemory, there)[0] is FAIL
        verdict, says = one(RoundTrip, there)
    assert verdict is FAIL
    assert "It cannot be checked: Redis at" in says


class TestRedisDurability:
    """Eviction is tested, too, in `test_durability`, by what a worker says when it starts."""

    @pytest.mark.parametrize(
        ("options", "verdicts_", "says"),
        [
            ((), [OK], "a power cut takes the last second of commits"),
            (("--appendfsync", "always"), [OK], "a power cut takes nothing"),
            (("--appendfsync", "no"), [WARN], "Set appendfsync everysec, or always."),
            (("--appendonly", "no"), [FAIL], "Set appendonly yes."),
            (("--maxmemory-policy", "allkeys-lru"), [FAIL], "Set maxmemory-policy noeviction."),
            (
                ("--maxmemory-policy", "volatile-ttl", "--appendonly", "no"),
                [FAIL, FAIL],
                "policy is volatile-ttl",
            ),
            (("--rename-command", "CONFIG", ""), [OK], "does not let its settings be read"),
        ],
    )
    def test_of_a_store(
        self, options: tuple[str, ...], verdicts_: list[Verdict], says: str
    ) -> None:
        with RedisServer(*options) as server, site(server.url) as there:
            findings = found(RedisDurability, there)
        assert [finding.verdict for finding in findings] == verdicts_
        assert says in " ".join(map(str, findings))

    def test_messages_and_copies_may_be_lost(self, redis_url: str, moto_server: MotoServer) -> None:
        """A broker that evicts is warned of, a hot tier that does is as it should be."""
        cold = store_url(moto_server.endpoint, uuid4().hex)
        with RedisServer("--maxmemory-policy", "allkeys-lru", "--appendonly", "no") as server:
            with site(server.url, runs=redis_url, checkpoints=redis_url) as there:
                assert verdicts(RedisDurability, there) == [OK, WARN]
            tiers = f"{server.url}|{cold}"
            with site(redis_url, checkpoints=tiers) as there:
                assert verdicts(RedisDurability, there) == [OK, OK]


class TestRedisServer:
    def test_memory_that_runs_out(self) -> None:
        with RedisServer("--maxmemory", "20mb") as server, site(server.url) as there:
            assert one(RedisMemory, there)[0] is OK
            with redis.Redis.from_url(server.url) as client:

                def fill(until: int) -> None:
                    while int(client.info("memory")["used_memory"]) < until:
                        client.rpush("filler", b"x" * 100_000)

                fill(17 << 20)
                assert one(RedisMemory, there)[0] is WARN
                fill(int(19.3 * (1 << 20)))
            verdict, says = one(RedisMemory, there)
            assert verdict is FAIL
            assert "of its maxmemory. Give it more" in says

    def test_a_snapshot_that_failed(self) -> None:
        with RedisServer() as server, site(server.url) as there:
            # A folder in its place can be replaced by no file, not even by root.
            (server.folder / "dump.rdb" / "full").mkdir(parents=True)
            with redis.Redis.from_url(server.url) as client:
                client.bgsave()
                eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] != "ok", 10)
            memory, disk = found(RedisMemory, there)
        assert (memory.verdict, disk.verdict) == (OK, FAIL)
        assert "Its last snapshot failed." in disk.says

    def test_replicas(self) -> None:
        with RedisServer() as server, site(server.url) as there:
            assert one(RedisRole, there) == (OK, "A primary with 0 replicas.")
            replica = ("--replicaof", f"127.0.0.1 {server.port}")
            with RedisServer(*replica) as follower, redis.Redis.from_url(server.url) as client:
                eventually(lambda: client.info("replication")["connected_slaves"] == 1, 20)
                verdict, says = one(RedisRole, there)
                assert verdict is WARN
                assert "after a failover the last commits can be missing" in says
                client.config_set("min-replicas-to-write", 1)
                assert one(RedisRole, there)[0] is OK

                with redis.Redis.from_url(follower.url) as at_follower:
                    server_facts = SiteServer(follower.url, at_follower, ["runs"])
                    there.redis_servers.append(server_facts)
                    assert verdicts(RedisRole, there) == [OK, FAIL]

    def test_a_cluster(self) -> None:
        bus = ["--cluster-port", str(free_port())]  # else the port plus 10,000, which may not exist
        with RedisServer("--cluster-enabled", "yes", *bus) as server:
            with redis.Redis.from_url(server.url) as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
                eventually(lambda: client.cluster("info")["cluster_state"] == "ok", 10)
            with site(server.url) as there:
                verdict, says = one(RedisRole, there)
        assert verdict is FAIL
        assert "Redis Cluster" in says

    @pytest.mark.parametrize(
        ("info", "verdict"),
        [
            ({"redis_version": "6.2.14"}, FAIL),
            ({"redis_version": "7.0.0"}, OK),
            ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, OK),
            ({"redis_version": "10.0.1"}, OK),
        ],
    )
    def test_versions(
        self,
        redis_url: str,
        monkeypatch: pytest.MonkeyPatch,
        info: dict[str, str],
        verdict: Verdict,
    ) -> None:
        """Old servers are not at hand: only what they say of themselves is made up."""
        with site(redis_url) as there:
            assert one(RedisVersion, there)[0] is OK
            monkeypatch.setattr(SiteServer, "info", lambda self, section: info)
            assert one(RedisVersion, there)[0] is verdict


class TestDatabase:
    @pytest.fixture
    def settings(self, postgres_url: str) -> Iterator[Callable[[str], None]]:
        """Set what new connections to the database begin with."""

        def execute(what: str) -> None:
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                connection.execute(f"ALTER DATABASE postgres {what}".encode())

        yield execute
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER DATABASE postgres RESET ALL")

    def test_good_and_hasty(
        self, redis_url: str, postgres_url: str, settings: Callable[[str], None]
    ) -> None:
        with site(redis_url, runs=postgres_url) as there:
            verdict, says = one(DatabaseDurability, there)
            assert verdict is OK
            assert "what is committed is on disk" in says
        settings("SET synchronous_commit = off")
        with site(redis_url, runs=postgres_url) as there:
            verdict, says = one(DatabaseDurability, there)
        assert verdict is WARN
        assert "Set synchronous_commit = on." in says

    def test_read_only(
        self, redis_url: str, postgres_url: str, settings: Callable[[str], None]
    ) -> None:
        with site(redis_url, runs=postgres_url) as there:
            settings("SET default_transaction_read_only = on")
            for database in there.databases.values():
                database.engine.dispose()
            verdict, says = one(DatabaseDurability, there)
        assert verdict is FAIL
        assert "It takes no writes" in says

    def test_without_fsync(self, redis_url: str) -> None:
        from support.postgres_server import PostgresServer

        with (
            PostgresServer("-c", "fsync=off", "-c", "full_page_writes=off") as server,
            site(redis_url, runs=server.url) as there,
        ):
            findings = found(DatabaseDurability, there)
        assert [finding.verdict for finding in findings] == [FAIL, FAIL]
        assert "can damage the whole database" in findings[0].says

    def test_sqlite(self, redis_url: str, tmp_path: Path) -> None:
        with site(redis_url, runs=f"sqlite:///{tmp_path}/runs.db") as there:
            assert one(DatabaseDurability, there)[0] is OK


class TestCheckpointStore:
    @pytest.mark.parametrize("kind", ["redis", "postgresql", "file", "sqlite", "SeaweedFS", "moto"])
    def test_good_ones(
        self, request: pytest.FixtureRequest, redis_url: str, tmp_path: Path, kind: str
    ) -> None:
        s3: SeaweedServer | MotoServer
        match kind:
            case "SeaweedFS" | "moto":
                name = {"SeaweedFS": "seaweed_server", "moto": "moto_server"}[kind]
                s3 = request.getfixturevalue(name)
                url = store_url(s3.endpoint, uuid4().hex)
            case "postgresql":
                url = request.getfixturevalue("postgres_url")
            case "redis":
                url = redis_url
            case _:
                url = f"{kind}:///{tmp_path}/kept"
        with site(redis_url, checkpoints=url) as there:
            assert one(RoundTrip, there)[0] is OK
            assert one(OneWinner, there)[0] is OK
            assert there.app.checkpoints.store.runs().items == ()

    @pytest.mark.fault("F41")
    def test_conditional_writes_that_are_not_atomic(
        self, redis_url: str, moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """moto looks first and writes then; a server that is slower between them lets many win.

        One write after the other is refused as it should be, which is all that the store itself proves when
        it is opened.
        """
        write = S3Backend.put_object

        def slowly(*args: Any, **options: Any) -> Any:
            time.sleep(0.05)
            return write(*args, **options)

        monkeypatch.setattr(S3Backend, "put_object", slowly)
        url = store_url(moto_server.endpoint, uuid4().hex)
        with site(redis_url, checkpoints=url) as there:
            verdict, says = one(OneWinner, there)
            assert there.app.checkpoints.store.runs().items == ()
        assert verdict is FAIL
        assert "two workers could both believe" in says

    def test_a_store_that_gives_back_another_thing(
        self, redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with site(redis_url) as there:
            manager = there.app.checkpoints
            get = manager.get

            def older(key: Any) -> Any:
                return get(key).model_copy(update={"state": {"probe": "old"}})

            monkeypatch.setattr(manager, "get", older)
            assert one(RoundTrip, there)[0] is FAIL

    def test_a_store_that_gives_back_damage(
        self, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with site(redis_url, checkpoints=f"file:///{tmp_path}") as there:
            store = there.app.checkpoints.store
            get = store.get

            def flipped(key: Any) -> Any:
                record = get(key)
                return replace(record, body=record.body[:-1] + bytes([record.body[-1] ^ 1]))

            monkeypatch.setattr(store, "get", flipped)
            verdict, says = one(RoundTrip, there)
            assert store.runs().items == ()
        assert verdict is FAIL
        assert "It cannot be checked: " in says


class TestEmbeddedServer:
    @pytest.fixture(params=[None, "/dev/shm"])
    def home(self, request: pytest.FixtureRequest) -> Iterator[Path]:
        if request.param and filesystem_of(Path(request.param)) != "tmpfs":
            pytest.skip(f"{request.param} is no tmpfs here")
        folder = Path(tempfile.mkdtemp(dir=request.param))
        yield folder
        EmbeddedServer(folder).stop()
        shutil.rmtree(folder)

    def test_room_and_kind_of_disk(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MILEPOST_HOME", str(home))
        volatile = filesystem_of(home) == "tmpfs"
        with site() as there:
            findings = found(EmbeddedDisk, there)
            assert [finding.verdict for finding in findings] == [WARN if volatile else OK]
            assert ("gone when the machine restarts" in findings[0].says) == volatile
            for free, verdict in ((500 << 20, WARN), (50 << 20, FAIL)):
                usage = shutil.disk_usage(home)._replace(free=free)
                monkeypatch.setattr(shutil, "disk_usage", lambda path, usage=usage: usage)
                assert verdicts(EmbeddedDisk, there)[-1] is verdict

    def test_another_server(self, redis_url: str) -> None:
        with site(redis_url) as there:
            assert one(EmbeddedDisk, there) == (OK, "Not in use.")


def test_the_command(redis_url: str, tmp_path: Path) -> None:
    def doctor(url: str, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "milepost.control.cli", "doctor", *words],
            cwd=tmp_path,
            env={**os.environ, "MILEPOST_URL": url, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout

    code, shown = doctor(redis_url)
    assert code == 0
    assert "No worker is up." in shown
    assert shown.endswith("2 warn, 0 fail\n")
    assert doctor(redis_url, "--strict")[0] == 1
    with RedisServer("--maxmemory-policy", "allkeys-lru") as server:
        code, shown = doctor(server.url, "--json")
    assert code == 1
    rows = [json.loads(line) for line in shown.splitlines()]
    assert [row["check"] for row in rows if row["verdict"] == "fail"] == ["redis durability"]
    code, shown = doctor("redis://:hunter2@127.0.0.1:1/0")
    assert code == 1
    assert "hunter2" not in shown
