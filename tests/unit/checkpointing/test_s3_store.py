"""What the S3 store says of servers that cannot keep its promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from milepost.checkpointing import (
    CheckpointSettings,
    Corrupt,
    Entry,
    Kind,
    Misconfigured,
    Record,
    Refused,
    Serializer,
    Unavailable,
    open_store,
)
from milepost.checkpointing.stores.s3 import S3CheckpointStore
from milepost.checkpointing.testing import make_record
from support.ports import free_port
from support.s3_proxy import s3_proxy
from support.s3_server import BUCKET, MotoServer, s3_client, store_url

FAST = CheckpointSettings(store_timeout_seconds=2, store_retries=0)


@pytest.fixture
def prefix() -> str:
    return f"unit/{uuid4().hex}"


@pytest.fixture
def bucket(moto_server: MotoServer) -> Iterator[Any]:
    client = s3_client(moto_server.endpoint)
    yield client
    client.close()


def names(bucket: Any, prefix: str) -> list[str]:
    reply = bucket.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/")
    return [item["Key"] for item in reply.get("Contents", [])]


def read(found: Record | Entry | None) -> None:
    """Do what a caller does next with what a store gave it."""
    assert found is not None
    Serializer().metadata(found.key, found.header)
    if isinstance(found, Record):
        Serializer().decode(found)


@pytest.mark.fault("F41")
def test_a_server_that_ignores_if_none_match_is_refused(
    moto_server: MotoServer, prefix: str
) -> None:
    with (
        s3_proxy(moto_server.endpoint, "If-None-Match") as proxy,
        pytest.raises(Refused, match="If-None-Match"),
    ):
        open_store(store_url(proxy.url, prefix), FAST)


def test_the_proxy_itself_is_no_reason_to_refuse(moto_server: MotoServer, prefix: str) -> None:
    with (
        s3_proxy(moto_server.endpoint) as proxy,
        open_store(store_url(proxy.url, prefix), FAST) as store,
    ):
        store.put(make_record("run"))
        assert store.latest("run") == make_record("run")


def test_opening_leaves_nothing_behind(moto_server: MotoServer, bucket: Any, prefix: str) -> None:
    open_store(store_url(moto_server.endpoint, prefix), FAST).close()
    assert names(bucket, prefix) == []


def test_a_missing_bucket_is_refused(moto_server: MotoServer) -> None:
    with pytest.raises(Refused, match="NoSuchBucket") as caught:
        open_store(store_url(moto_server.endpoint, "p", "milepost-absent"), FAST)
    assert "test-secret-key" not in str(caught.value)


def test_a_dead_endpoint_is_unavailable() -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable) as caught:
        open_store(store_url(endpoint, "p"), FAST)
    assert "does not answer" in str(caught.value)
    assert "test-secret-key" not in str(caught.value)


def test_a_server_that_dies_is_unavailable(prefix: str) -> None:
    with MotoServer() as server:
        store = open_store(store_url(server.endpoint, prefix), FAST)
        store.put(make_record("run"))
    with store:
        for call in (
            lambda: store.put(make_record("run", 1)),
            lambda: store.get(make_record("run").key),
            lambda: store.latest("run"),
            lambda: store.history("run"),
            lambda: store.runs(),
            lambda: store.delete_run("run"),
        ):
            with pytest.raises(Unavailable):
                call()


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///prefix",
        "s3://bucket/p?colour=red",
        "s3://bucket:99/p",
        "s3://bucket/p?endpoint_url=nonsense&region_name=us-east-1",
    ],
)
def test_a_url_that_cannot_work_is_misconfigured(url: str) -> None:
    with pytest.raises(Misconfigured):
        open_store(url, FAST)


def test_want_of_credentials_is_refused(
    moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    url = f"s3://{BUCKET}/p?endpoint_url={moto_server.endpoint}&region_name=us-east-1"
    with pytest.raises((Refused, Misconfigured), match="credentials"):
        open_store(url, FAST)


def test_a_profile_that_does_not_exist_is_misconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "milepost-absent")
    with pytest.raises(Misconfigured, match="milepost-absent"):
        open_store(f"s3://{BUCKET}/p", FAST)


@pytest.mark.fault("F40")
@pytest.mark.parametrize("data", [b"", b"short", b"MPCK" + b"\xff" * 300])
def test_a_damaged_object_is_corrupt_and_named(
    moto_server: MotoServer, bucket: Any, prefix: str, data: bytes
) -> None:
    record = make_record("run", 3, kind=Kind.MANUAL)
    with open_store(store_url(moto_server.endpoint, prefix), FAST) as store:
        store.put(record)
        (name,) = names(bucket, prefix)
        bucket.put_object(Bucket=BUCKET, Key=name, Body=data)
        calls: list[Callable[[], Record | None]] = [
            lambda: store.get(record.key),
            lambda: store.latest("run", Kind.MANUAL),
        ]
        for call in calls:
            with pytest.raises(Corrupt) as caught:
                read(call())
            assert caught.value.key == record.key
        with pytest.raises(Corrupt) as caught:
            read(store.history("run", Kind.MANUAL).items[0])
        assert caught.value.key == record.key


def test_other_objects_in_the_bucket_are_let_be(
    moto_server: MotoServer, bucket: Any, prefix: str
) -> None:
    for name in ("readme.txt", "photos/1.jpg", "!other/x"):
        bucket.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=b"x")
    with open_store(store_url(moto_server.endpoint, prefix), FAST) as store:
        store.put(make_record("run"))
        assert store.runs().items == ("run",)
        assert store.delete_run("run") == 1
    assert len(names(bucket, prefix)) == 3


def test_more_than_one_reply_of_the_server_is_listed_and_deleted(
    moto_server: MotoServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milepost.checkpointing.stores.s3._LISTED_AT_ONCE", 10)
    with open_store(store_url(moto_server.endpoint, prefix), FAST) as store:
        for sequence in range(25):
            store.put(make_record("run", sequence))
            store.put(make_record(f"run-{sequence:02}"))
        page = store.history("run", limit=23)
        assert [entry.key.sequence for entry in page.items] == list(range(24, 1, -1))
        rest = store.history("run", limit=23, cursor=page.cursor)
        assert [entry.key.sequence for entry in rest.items] == [1, 0]
        assert rest.cursor is None
        assert len(store.runs(limit=24).items) == 24
        assert len(store.runs(limit=100).items) == 26
        assert store.delete_run("run") == 25


def test_what_the_server_does_not_delete_is_told(
    moto_server: MotoServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(store_url(moto_server.endpoint, prefix), FAST) as store:
        assert isinstance(store, S3CheckpointStore)
        store.put(make_record("run"))
        reply = {"Errors": [{"Key": "x", "Code": "AccessDenied", "Message": "no"}]}
        monkeypatch.setattr(store._s3, "delete_objects", lambda **_: reply)
        with pytest.raises(Refused, match="AccessDenied"):
            store.delete_run("run")


@pytest.mark.fault("F39")
def test_a_probe_whose_reply_was_lost_and_sent_again_is_no_refusal(
    moto_server: MotoServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = S3CheckpointStore._create

    def sent_twice(store: S3CheckpointStore, *args: Any) -> bool:
        create(store, *args)
        return create(store, *args)

    monkeypatch.setattr(S3CheckpointStore, "_create", sent_twice)
    open_store(store_url(moto_server.endpoint, prefix), FAST).close()
