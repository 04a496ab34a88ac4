"""A stage is killed in its loop: the next try goes on where it was, and pays no second time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance.arena import Arena
from acceptance.pipelines import Trail
from milepost.checkpointing import Kind
from support.s3_server import SeaweedServer, store_url
from support.waiting import eventually

TOTAL = str(sum(range(40)))


@pytest.fixture(params=["one Redis", "log in S3"])
def anywhere(
    request: pytest.FixtureRequest, tmp_path: Path, seaweed_server: SeaweedServer
) -> Iterator[Arena]:
    """The log beside the runs, and elsewhere."""
    env = {"MILEPOST_CHECKPOINTS": store_url(seaweed_server.endpoint, tmp_path.name)}
    split = request.param == "log in S3"
    with Arena(tmp_path, env=env if split else None) as arena:
        yield arena


@pytest.mark.fault("F21")
@pytest.mark.parametrize("way", ["kill", "SIGTERM"])
def test_a_loop_goes_on_where_it_was(anywhere: Arena, way: str) -> None:
    trap = anywhere.trap("inside", "count", "wait")
    with anywhere.app() as app, anywhere.worker(env=trap.env) as victim:
        victim.wait_ready()
        run = app.start("counting", Trail())
        trap.wait_reached()
        assert run.head.stage_progress == (20, 40)
        if way == "kill":
            victim.kill_group()
        else:
            victim.terminate()
            victim.wait_for_log("Warm shutdown")
            trap.release()
            assert victim.wait_exit() == 0
        with anywhere.worker() as heir:
            heir.wait_ready()
            run.wait(20)

        assert run.state == Trail(done=["receipt", TOTAL])
        assert run.checkpoint.messages == [{"role": "assistant", "content": "receipt"}]
        assert run.checkpoint.context == {"total": int(TOTAL)}
        counts = Counter(effect.stage for effect in anywhere.ledger.entries(run.id))
        assert counts.pop("pay") == 1
        # The item in whose midst it died; told to stop, it ends the item first.
        assert counts.pop("item-20") == (2 if way == "kill" else 1)
        assert set(counts.values()) == {1}
        assert len(counts) == 39
        log = app.checkpoints.store
        eventually(lambda: not list(log.entries(run.id, Kind.PROGRESS)), 10)
        assert [metadata.kind for metadata in run.checkpoints()] == [Kind.COMMIT] * 2
