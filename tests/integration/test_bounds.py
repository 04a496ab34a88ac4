"""What large states and many runs may take, counted in bytes and commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis

from milepost.checkpointing import CheckpointManager, CheckpointSettings, TooLarge
from milepost.tasks import Milepost, RunQuery, RunStatus
from support.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
SIZE = 100_000_000
EVERY = {
    "all": RunQuery(),
    "status": RunQuery.of(RunStatus.QUEUED),
    "tag": RunQuery(tag="night"),
    "pipeline and status": RunQuery.of(RunStatus.QUEUED, pipeline="plain"),
}


@pytest.fixture
def server() -> Any:
    """A server of its own: everything is counted."""
    with RedisServer() as server:
        yield server


@pytest.mark.fault("F63")
def test_a_state_of_100_mb_takes_a_few_times_its_size(server: RedisServer) -> None:
    """Writing takes the state's JSON and its record, reading those and the state."""
    peaks = {}
    for verb in ("create", "restore"):
        command = [sys.executable, "-m", "benchmarks.large", verb, server.url]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        peaks[verb] = json.loads(done.stdout)["peak_bytes"] / SIZE

    assert peaks["create"] < 2.5
    assert peaks["restore"] < 3.5


@pytest.mark.fault("F63")
def test_a_state_that_is_too_large_is_not_sent(server: RedisServer) -> None:
    settings = CheckpointSettings(max_record_bytes=1_000_000, compression="none")
    with CheckpointManager(server.url, settings) as manager:
        manager.create("run", {"x": 1})
        with redis.Redis.from_url(server.url) as client:
            before = _sent(client)
            with pytest.raises(TooLarge):
                manager.create("run", {"x": "x" * 1_100_000})
            assert _sent(client) - before < 10_000
        kept = manager.restore("run")
        assert kept is not None
        assert kept.state == {"x": 1}


@pytest.mark.fault("F63")
def test_a_page_costs_the_same_among_many_runs(server: RedisServer) -> None:
    """Each script's commands are counted one by one by the server."""
    app = Milepost(server.url)
    app.pipeline("plain").stage(name="only")(lambda state, ctx: state)
    with redis.Redis.from_url(server.url) as client:
        costs = []
        for count in (1_000, 19_000):
            app.pipelines["plain"].start_many([{}] * count, tags=["night"])
            costs.append({name: _cost(app, client, query) for name, query in EVERY.items()})
    app.close()
    app.celery.close()

    few, many = costs
    for name in EVERY:
        commands, sent = few[name]
        assert commands > 0
        assert many[name][0] <= 1.1 * commands, (name, few, many)
        assert many[name][1] <= 1.1 * sent, (name, few, many)


def _sent(client: redis.Redis) -> int:
    stats: Any = client.info("stats")
    return int(stats["total_net_input_bytes"])


def _cost(app: Milepost, client: redis.Redis, query: RunQuery) -> tuple[int, int]:
    """Return how many commands the third page of 50 takes, and how many bytes it is."""
    cursor = None
    for _ in range(2):
        cursor = app.runs.find(query, cursor=cursor).cursor
    client.config_resetstat()
    before: Any = client.info("stats")["total_net_output_bytes"]
    page = app.runs.find(query, cursor=cursor)
    after: Any = client.info("stats")["total_net_output_bytes"]
    calls: Counter[str] = Counter()
    stats: Any = client.info("commandstats")
    for command, figures in stats.items():
        calls[command] += figures["calls"]
    assert len(page.items) == 50
    for own in ("cmdstat_info", "cmdstat_config|resetstat"):
        del calls[own]
    return calls.total(), after - before
