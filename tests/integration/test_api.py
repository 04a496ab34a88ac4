"""The HTTP API from start to end, through its typed client."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from integration.api_site import counting_app, finish
from milepost.checkpointing import InvalidName, Misconfigured, NotFound, Refused, Unavailable
from milepost.control.api.keys import Scope
from milepost.control.client import Client
from milepost.tasks import (
    Conflict,
    InputMismatch,
    Milepost,
    RunStatus,
    StateInvalid,
    UnknownPipeline,
    UnknownRun,
)
from support.api_server import ApiServer
from support.redis_server import RedisServer
from support.waiting import eventually


@pytest.fixture
def app(redis_url: str) -> Iterator[Milepost]:
    app = counting_app(redis_url)
    yield app
    app.close()


@pytest.fixture
def server(app: Milepost) -> Iterator[ApiServer]:
    with ApiServer(app) as server:
        yield server


@pytest.fixture
def client(server: ApiServer) -> Iterator[Client]:
    with server.client() as client:
        yield client


def test_a_run_from_start_to_end(app: Milepost, client: Client) -> None:
    """Start, status, wait, result, history, one checkpoint, notes, delete."""
    started = client.start(
        "counting",
        {"n": 4},
        run_id="one",
        tags=["x"],
        priority=3,
        budget={"usd": 5},
        tenant="acme",
    )
    assert (started.status, started.tags, started.priority) == ("queued", ("x",), 3)
    assert (started.budget, started.tenant, started.stage) == ({"usd": 5}, "acme", "up")
    finish(app, "one")
    done = client.wait("one", timeout=5)
    assert (done.status, done.ended, done.stages_done) == ("completed", True, 2)
    assert done.finished_at is not None
    assert done.finished_at - datetime.now(UTC) < timedelta(seconds=5)
    assert client.run("one") == done
    assert client.state("one") == {"n": 5, "broken": False}
    history = [*client.checkpoints("one")]
    assert [each.sequence for each in history] == [2, 1, 0]
    first = client.checkpoint("one", history[-1].checkpoint_id)
    assert first.state == {"n": 4, "broken": False}
    client.delete("one")
    with pytest.raises(UnknownRun, match=r"^There is no run one\.$"):
        client.run("one")
    with pytest.raises(UnknownRun):
        client.delete("one")


def test_starting_again_is_the_same_run(client: Client, server: ApiServer) -> None:
    """By run id or by idempotency key; with another input it is refused."""
    with server.http() as http:
        path, body = "/v1/pipelines/counting/runs", {"state": {"n": 1}}
        key = {b"Idempotency-Key": "order 7 / ü".encode()}
        first, second = (http.post(path, json=body, headers=key) for _ in range(2))
        other = http.post("/v1/pipelines/loose/runs", json=body, headers=key)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert first.headers["location"] == f"/v1/runs/{first.json()['run_id']}"
    assert other.json()["run_id"] != first.json()["run_id"]
    client.start("counting", {"n": 1}, run_id="one")
    with pytest.raises(InputMismatch, match="with another input") as caught:
        client.start("counting", {"n": 2}, run_id="one")
    assert (caught.value.run_id, caught.value.status) == ("one", "queued")


class Lossy(httpx.HTTPTransport):
    """Loses the answer of every second request: what was asked for is done all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = super().handle_request(request)
        if len(self.asked) % 2:
            answer.close()
            raise httpx.ReadError("the connection broke")
        return answer


@pytest.mark.fault("F2")
def test_lost_answers(server: ApiServer, app: Milepost) -> None:
    """Starts and reads are repeated and done once; a command is not repeated."""
    lossy = Lossy()
    header = {"Authorization": f"Bearer {server.key()}"}
    http = httpx.Client(base_url=server.url, headers=header, transport=lossy)
    with Client(server.url, "", http=http) as client:
        run = client.start("counting", {"n": 1})
        batch = client.start_many("counting", [{"n": 2}, {"n": 3}])
        assert [each.outcome for each in batch.runs] == ["existing", "existing"]
        assert client.run(run.run_id).status == "queued"
        with pytest.raises(Unavailable, match="the connection broke"):
            client.pause(run.run_id)
    assert len(lossy.asked) == 7
    assert sum(app.runs.counts().values()) == 3
    assert app.run(run.run_id).status == "paused"


def test_a_delayed_run(client: Client) -> None:
    """By a delay or by a date."""
    assert client.start("counting", {}, delay="1h").status == "scheduled"
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert client.start("counting", {}, at=tomorrow).status == "scheduled"
    with pytest.raises(Misconfigured, match="not both"):
        client.start("counting", {}, at=tomorrow, delay=1)


def test_many_at_once(client: Client, app: Milepost) -> None:
    """A batch says for each what became of it; one bad state stops all."""
    client.start("counting", {"n": 0}, run_id="r-0")
    client.start("counting", {"n": 7}, run_id="r-1")
    batch = client.start_many(
        "counting", [{"n": n} for n in range(4)], run_ids=[f"r-{n}" for n in range(4)]
    )
    assert [run.outcome for run in batch.runs] == ["existing", "refused", "created", "created"]
    assert "another input" in str(batch.runs[1].error)
    again = [
        client.start_many("counting", [{"n": 1}] * 3, idempotency_key="k", tags=["batch"])
        for _ in range(2)
    ]
    assert [run.outcome for run in again[0].runs] == ["created"] * 3
    assert [run.outcome for run in again[1].runs] == ["existing"] * 3
    before = app.runs.counts()
    with pytest.raises(StateInvalid, match=r"state\.n"):
        client.start_many("counting", [{"n": 1}, {"n": "x"}])
    assert app.runs.counts() == before


def test_every_command(client: Client, app: Milepost) -> None:
    """Each does what the library does, is refused as there, and is noted under the key's name."""
    client.start("counting", {"n": 1, "broken": True}, run_id="one", budget={"usd": 1})
    finish(app, "one")
    failed = client.wait("one", timeout=5)
    assert failed.error is not None
    assert (failed.status, failed.error.message) == ("failed", "it is broken at 2")
    assert failed.error.traceback is not None
    assert client.failures().groups[0].group == failed.error.group
    with pytest.raises(StateInvalid, match=r"state\.n") as caught:
        client.edit("one", patch={"n": "much"})
    assert (caught.value.stage, caught.value.path) == ("check", "state.n")
    assert client.edit("one", patch={"broken": False}).status == "failed"
    assert client.fork("one", "up", as_run="two").origin.startswith("one/")
    assert client.top_up("one", {"usd": 2}).budget == {"usd": 3}
    assert client.retry("one").status == "queued"
    assert client.pause("one").status == "paused"
    assert client.resume("one").status == "queued"
    assert client.rewind("one", "up").stage == "up"
    first = [*client.checkpoints("one")][-1].checkpoint_id
    assert client.rewind("one", checkpoint_id=first).stage == "up"
    assert client.skip("one").stage == "check"
    assert client.cancel("one").status == "cancelled"
    with pytest.raises(Conflict, match="Run one is cancelled; only a run") as refused:
        client.skip("one")
    assert refused.value.status == "cancelled"
    said = [(note.command, note.by) for note in reversed(client.notes("one"))]
    assert {by for _, by in said} == {"admin-user"}
    assert [command for command, _ in said if command != "skip"] == [
        *("edit", "edit", "edit", "fork", "top-up", "retry", "pause", "resume"),
        *("rewind", "rewind"),
        "cancel",
    ]
    assert client.notes(limit=3)[0].detail.startswith("refused: ")


def test_what_is_refused(client: Client) -> None:
    """The library's own errors come back."""
    client.start("counting", {}, run_id="one")
    with pytest.raises(UnknownRun):
        client.run("nobody")
    with pytest.raises(UnknownPipeline, match="known: counting, loose"):
        client.start("nothing")
    with pytest.raises(UnknownPipeline, match="has no stage 'nowhere'"):
        client.rewind("one", "nowhere")
    with pytest.raises(InvalidName):
        client.run("..")
    with pytest.raises(NotFound):
        client.checkpoint("one", "ffff")
    with pytest.raises(Misconfigured, match="either a whole state or a patch"):
        client.edit("one")
    with pytest.raises(Conflict, match="has no limit for usd"):
        client.top_up("one", {"usd": 1})


def test_an_etag_saves_and_protects(server: ApiServer, app: Milepost) -> None:
    """304 while nothing has changed; 412 for a command on a run that has moved on."""
    app.start("counting", {"n": 1}, run_id="one")
    with server.http() as http:
        seen = http.get("/v1/runs/one").headers["etag"]
        same = http.get("/v1/runs/one", headers={"If-None-Match": f'"other", W/{seen}'})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", seen)
        paused = http.post("/v1/runs/one/pause", headers={"If-Match": seen})
        assert paused.status_code == 200
        late = http.post("/v1/runs/one/cancel", headers={"If-Match": seen})
        assert (late.status_code, late.json()["run_status"]) == (412, "paused")
        assert late.json()["type"].endswith("#moved-on")
        assert http.get("/v1/runs/one", headers={"If-None-Match": seen}).status_code == 200
        now = paused.headers["etag"]
        gone = http.delete("/v1/runs/one", headers={"If-Match": now})
        assert gone.status_code == 204


def test_listing_by_pages(client: Client, server: ApiServer) -> None:
    """Filters are those of the library; a cursor that was forged is refused."""
    for n in range(7):
        client.start("counting", {"n": n}, run_id=f"r-{n}", tags=["odd" if n % 2 else "even"])
    client.start("loose", {}, run_id="other")
    assert [run.run_id for run in client.runs(tag="odd")] == ["r-5", "r-3", "r-1"]
    assert [run.run_id for run in client.runs(pipeline="loose")] == ["other"]
    assert len([*client.runs(status=["queued", "failed"], limit=5)]) == 5
    assert [*client.runs(status="failed")] == []
    assert [*client.runs(since=datetime.now(UTC) + timedelta(hours=1))] == []
    with server.http() as http:
        seen, cursor = [], None
        while True:
            asked = {"limit": 3} | ({"cursor": cursor} if cursor else {})
            page = http.get("/v1/runs", params=asked).json()
            seen += [run["run_id"] for run in page["items"]]
            cursor = page["cursor"]
            if cursor is None:
                break
        forged = http.get("/v1/runs", params={"cursor": "../../1"})
        history = http.get("/v1/runs/r-1/checkpoints", params={"cursor": "blob/x/1"})
    assert seen == ["other", *(f"r-{n}" for n in range(6, -1, -1))]
    assert (forged.status_code, history.status_code) == (422, 422)
    assert "cursor" in forged.json()["detail"]
    assert "cursor" in history.json()["detail"]


def test_commands_in_bulk(client: Client, app: Milepost) -> None:
    """Counted first, refused without a condition, noted, and done."""
    for n in range(6):
        client.start("counting", {"n": n, "broken": n < 4}, run_id=f"r-{n}")
        finish(app, f"r-{n}")
    failed = {"status": "failed"}
    assert client.bulk("retry", failed, dry_run=True).done == 4
    with pytest.raises(Misconfigured, match="every run"):
        client.bulk("retry", {})
    with pytest.raises(Misconfigured, match="rewind takes stage; none was given"):
        client.bulk("rewind", failed)
    with pytest.raises(Misconfigured, match="retry takes no arguments; stage was given"):
        client.bulk("retry", failed, arguments={"stage": "up"})
    assert client.bulk("retry", failed, limit=1).run_ids == ("r-3",)
    done = client.bulk("rewind", failed, arguments={"stage": "up"}, rate_per_second=1000)
    assert (done.done, done.complete, done.refused) == (3, True, {})
    assert client.bulk("cancel", {}, yes=True).done == 4
    assert client.bulk("cancel", {"tag": "nothing"}).found == 0
    assert client.notes(limit=1)[0].by == "admin-user"


def test_a_bulk_command_ends_when_time_is_up(app: Milepost) -> None:
    """The same request again does the rest."""
    app.pipelines["counting"].start_many([{"n": n} for n in range(30)])
    with ApiServer(app, api_bulk_seconds=0.2) as server, server.client() as client:
        first = client.bulk("cancel", {"status": "queued"}, rate_per_second=20)
        assert not first.complete
        assert 0 < first.done < 30
        total = first.done
        for _ in range(40):
            answer = client.bulk("cancel", {"status": "queued"})
            total += answer.done
            if answer.complete:
                break
    assert total == 30


def test_a_bulk_command_ends_with_its_server(app: Milepost) -> None:
    """It answers what it has done."""
    app.pipelines["counting"].start_many([{"n": n} for n in range(6)])
    with ThreadPoolExecutor(1) as pool, ApiServer(app) as server, server.client() as client:
        asked = pool.submit(client.bulk, "cancel", {"status": "queued"}, rate_per_second=0.1)
        try:
            one = {("counting", RunStatus.CANCELLED): 1}
            eventually(lambda: one.items() <= app.runs.counts().items(), what="the first")
            began = time.monotonic()
        finally:
            server.__exit__()
        # The next one would have been due in ten.
        assert time.monotonic() - began < 8
        assert (asked.result().done, asked.result().complete) == (1, False)


def test_waiting_ends_with_the_run(client: Client, app: Milepost) -> None:
    """And not before, but when time is up."""
    client.start("counting", {}, run_id="one")
    with pytest.raises(TimeoutError, match="is queued after"):
        client.wait("one", timeout=0.3)
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.append(client.wait("one").status))
    waiting.start()
    finish(app, "one")
    waiting.join(10)
    assert found == ["completed"]


def test_keys_over_http(client: Client, server: ApiServer) -> None:
    """Made, listed without secrets, revoked with effect at once."""
    made = client.create_key("robot", "operate", tenant="acme", seconds=60)
    assert made.expires_at is not None
    with Client(server.url, made.key) as robot:
        assert robot.start("counting", {}).tenant == "acme"
        client.revoke_key(made.id)
        with pytest.raises(Refused, match="Send a key that is good"):
            robot.pipelines()
    assert made.key not in str(client.keys())
    assert [note.command for note in client.notes(limit=2)] == ["revoke key", "create key"]
    with pytest.raises(Misconfigured, match="There is no key"):
        client.revoke_key(made.id)


def test_a_key_revoked_elsewhere_is_good_for_a_second_at_most(server: ApiServer) -> None:
    """What was found good is remembered, but not for long."""
    text, key = server.made(Scope.READ)
    with server.http(text) as http:
        assert http.get("/v1/runs").status_code == 200
        server.keys.revoke(key.id)
        eventually(lambda: http.get("/v1/runs").status_code == 401, 3)


def test_pipelines_say_what_they_take(client: Client) -> None:
    """The schema of the state is there for forms."""
    counting, loose = client.pipelines()
    assert [stage.name for stage in counting.stages] == ["up", "check"]
    assert counting.state is not None
    assert counting.state["properties"]["n"]["type"] == "integer"
    assert (loose.name, loose.state) == ("loose", None)


def test_the_stores_being_gone_is_said() -> None:
    """503 with a time to try again, alive but not ready, and no word of where the store is."""
    with RedisServer() as redis, ApiServer(counting_app(redis.url)) as server:
        key = server.key()
        with server.http(key) as http:
            assert http.get("/readyz").json() == {"status": "ok"}
            redis.kill()
            answers = [http.get("/readyz"), http.get("/v1/runs/one"), http.get("/v1/runs")]
            assert http.get("/healthz").status_code == 200
            for answer in answers:
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "2"
                assert answer.headers["content-type"] == "application/problem+json"
                assert "127.0.0.1" not in answer.text
            with Client(server.url, key, retries=0) as client, pytest.raises(Unavailable):
                client.run("one")
            redis.start()
            eventually(lambda: http.get("/readyz").status_code == 200)
    with Client(server.url, key, retries=1) as client, pytest.raises(Unavailable):
        client.run("one")
