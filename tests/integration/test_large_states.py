"""Pipelines whose states are large, and blobs of theirs, on one Redis and with parts elsewhere."""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from pydantic import BaseModel

from milepost.checkpointing import Blob, Misconfigured, NotFound, Unavailable
from milepost.checkpointing.serializer import piece_key
from milepost.tasks import Context, Milepost, Run, RunStatus, TaskSettings
from milepost.tasks.setbacks import StageFailed
from support.s3_server import SeaweedServer, store_url

FIELDS = 100


class Features(BaseModel):
    fields: dict[str, str] = {}
    raw: Blob | None = None
    done: int = 0


def text(seed: int, size: int = 50_000) -> str:
    return random.Random(seed).randbytes(size // 2).hex()


class Lab:
    def __init__(self, url: str, checkpoints: str | None, blobs: str | None) -> None:
        settings = TaskSettings(
            blob_from_bytes=64 * 1024, compression="none", blobs=blobs, commit_patience_seconds=5
        )
        self.app = Milepost(url, checkpoints=checkpoints, settings=settings)
        line = self.app.pipeline("line")

        @line.stage
        def load(state: Features, ctx: Context) -> Features:
            with ctx.blob("raw") as out:
                for number in range(10):
                    out.write(bytes([number]) * 1_000_000)
            fields = {str(number): text(number) for number in range(FIELDS)}
            return Features(fields=fields, raw=out.blob)

        for number in range(1, 4):
            line.stage(name=f"change{number}")(self._change(number))

        @line.stage
        def check(state: Features, ctx: Context) -> Features:
            assert state.raw is not None
            with ctx.open(state.raw) as stream:
                stream.seek(5_000_000)
                assert stream.read(2) == b"\5\5"
            return state.model_copy(update={"done": 5})

    def _change(self, number: int) -> Any:
        def change(state: Features, ctx: Context) -> Features:
            fields = {**state.fields, str(number): text(100 + number)}
            return state.model_copy(update={"fields": fields, "done": number})

        return change

    def step(self, run: Run) -> str:
        head = run.head
        return self.app.runtime.engine.execute("line", head.step)

    def finish(self, run: Run) -> Run:
        for _ in range(10):
            if run.status.ended:
                return run
            self.step(run)
        raise AssertionError(run.head)


@pytest.fixture(params=["one Redis", "blobs in S3", "log in S3"])
def lab(
    request: pytest.FixtureRequest, redis_url: str, seaweed_server: SeaweedServer
) -> Iterator[Lab]:
    elsewhere = store_url(seaweed_server.endpoint, uuid4().hex)
    there = Lab(
        redis_url,
        elsewhere if request.param == "log in S3" else None,
        elsewhere if request.param == "blobs in S3" else None,
    )
    yield there
    there.app.close()
    there.app.celery.close()


def test_only_what_a_stage_has_changed_is_written(lab: Lab) -> None:
    run = lab.app.start("line", Features())
    lab.step(run)
    first = run.head.written_bytes
    assert first > FIELDS * 50_000
    assert lab.finish(run).status is RunStatus.COMPLETED
    state = run.state
    assert state.done == 5
    for number in range(FIELDS):
        assert state.fields[str(number)] == text(100 + number if number in (1, 2, 3) else number)
    assert run.head.written_bytes < 2 * first
    assert lab.app.checkpoints.restore(run.id).state["done"] == 5  # type: ignore[union-attr]


def test_records_stay_small_where_blobs_are_elsewhere(lab: Lab, redis_url: str) -> None:
    run = lab.finish(lab.app.start("line", Features()))
    checkpoints = lab.app.checkpoints
    if checkpoints.blobs is checkpoints.store:
        assert checkpoints.delete_blobs(run.id) == 0
        return
    with redis.Redis.from_url(redis_url) as client:
        sizes = [client.memory_usage(key) or 0 for key in client.scan_iter(f"*{run.id}")]
    assert sum(sizes) < 200_000
    assert checkpoints.blobs.runs().items == (run.id,)
    run.delete()
    assert checkpoints.blobs.runs().items == ()


def test_a_deleted_run_leaves_nothing(lab: Lab) -> None:
    run = lab.finish(lab.app.start("line", Features()))
    blob = run.state.raw
    run.delete()
    with lab.app.checkpoints.open_blob(blob) as stream, pytest.raises(NotFound):
        stream.read(1)
    for store in (lab.app.checkpoints.store, lab.app.checkpoints.blobs):
        assert store.runs().items == ()


def test_a_large_input_is_cut_as_well(lab: Lab) -> None:
    given = Features(fields={str(n): text(n) for n in range(10)})
    run = lab.app.start("line", given, run_id="large")
    assert lab.app.start("line", given, run_id="large").id == run.id
    assert run.state == given
    assert run.checkpoint.manifest is not None
    lab.app.lifecycle.cancel(run.id)
    assert run.checkpoint.state["fields"]["3"] == text(3)
    assert run.checkpoint.manifest is not None


def test_a_store_that_is_away_for_a_while_is_waited_for(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs, failures = lab.app.checkpoints.blobs, [1, 2]
    put_all = blobs.put_all

    def away_at_first(records: Any) -> None:
        if failures:
            failures.pop()
            raise Unavailable("away")
        put_all(records)

    run = lab.app.start("line", Features())
    lab.step(run)
    monkeypatch.setattr(blobs, "put_all", away_at_first)
    lab.step(run)
    assert not failures
    assert run.progress == (2, 5)


@pytest.mark.fault("F64")
def test_damage_to_a_piece_is_said_and_loses_nothing(lab: Lab) -> None:
    run = lab.app.start("line", Features())
    lab.step(run)
    manifest = run.checkpoint.manifest
    assert manifest is not None
    piece = manifest.pieces[0]
    key = piece_key(run.id, piece)
    record = lab.app.checkpoints.blobs.get(key)
    lab.app.checkpoints.blobs.delete(key)
    with pytest.raises(StageFailed, match="A piece of it is missing"):
        lab.step(run)
    assert run.status is RunStatus.FAILED
    lab.app.checkpoints.blobs.put(record)
    run.retry()
    assert lab.finish(run).state.done == 5


def test_a_checkpoint_in_mid_stage_can_be_restored(lab: Lab) -> None:
    ids: list[str] = []
    line = lab.app.pipeline("mid")

    @line.stage
    def work(state: Features, ctx: Context) -> Features:
        for done in (1, 2):
            half = state.model_copy(update={"done": done, "fields": {"a": text(done)}})
            ids.append(ctx.checkpoint(half, tags=["half"]))
        return state.model_copy(update={"done": 9})

    run = lab.app.start("mid", Features())
    lab.app.runtime.engine.execute("mid", run.head.step)
    assert run.state.done == 9
    restored = lab.app.checkpoints.restore_from(ids[0], state_type=Features)
    assert (restored.state.done, restored.metadata.stage) == (1, "work")
    assert restored.metadata.tags == ("half",)
    listed = {metadata.checkpoint_id for metadata in run.checkpoints()}
    assert {*ids} < listed
    assert lab.app.checkpoints.restore(run.id).state["done"] == 9  # type: ignore[union-attr]
    assert line.call(Features()).done == 9


@pytest.mark.parametrize(("keep", "at_last", "expected"), [(2, None, 2), (2, 1, 1), (None, 1, 1)])
def test_a_pipeline_keeps_as_many_checkpoints_as_it_says(
    lab: Lab, keep: int | None, at_last: int | None, expected: int
) -> None:
    thin = lab.app.pipeline("thin", keep=keep, keep_on_success=at_last)
    fails = [True]

    def body(number: int) -> Any:
        def change(state: Features, ctx: Context) -> Features:
            if number == 3 and fails:
                fails.pop()
                raise ValueError
            fields = {**state.fields, "kept": text(0, 400_000), str(number % 2): text(number)}
            return state.model_copy(update={"fields": fields, "done": number})

        return change

    for number in range(6):
        thin.stage(name=f"s{number}")(body(number))
    run = lab.app.start("thin", Features())
    for number in range(6):
        if number == 3:
            with pytest.raises(StageFailed):
                lab.app.runtime.engine.execute("thin", run.head.step)
            run.retry()
        lab.app.runtime.engine.execute("thin", run.head.step)
        assert run.state.done == number
        assert run.state.fields["kept"] == text(0, 400_000)
        if keep and number < 3:
            assert len(run.checkpoints()) <= keep
    assert len(run.checkpoints()) == expected
    for metadata in run.checkpoints():
        found = lab.app.checkpoints.restore_from(metadata.checkpoint_id, run.id)
        assert found.state["fields"]["kept"] == text(0, 400_000)
    final = run.checkpoint.manifest
    assert final is not None
    usage = lab.app.checkpoints.usage(run.id).bytes
    assert usage < 3 * sum(piece.stored_bytes for piece in final.pieces)


def test_nothing_cannot_be_kept(lab: Lab) -> None:
    for options in ({"keep": 0}, {"keep_on_success": -1}):
        with pytest.raises(Misconfigured, match="cannot be kept"):
            lab.app.pipeline("none", **options)  # type: ignore[arg-type]


def test_a_cancelled_run_keeps_its_state_when_keys_change(
    redis_url: str, seaweed_server: SeaweedServer
) -> None:
    lab = Lab(redis_url, None, None)
    run = lab.app.start("line", Features())
    lab.step(run)
    state = run.state
    lab.app.close()
    keys = "new:" + b64encode(b"k" * 32).decode()
    settings = TaskSettings(
        blob_from_bytes=64 * 1024,
        encryption_keys=keys,
        accept_unencrypted=True,
    )
    after = Milepost(redis_url, settings=settings)
    after.run(run.id).cancel()
    found = after.checkpoints.restore(run.id, state_type=Features)
    assert found is not None
    assert found.state == state
    after.close()
    after.celery.close()
    lab.app.celery.close()
