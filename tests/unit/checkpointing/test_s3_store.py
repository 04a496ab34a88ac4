"""What the S3 store says of servers that cannot keep its promise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from milepost.checkpointing import (
    CheckpointSettings,
    Corrupt,
    Kind,
    Misconfigured,
    Refused,
    Unavailable,
    open_store,
)
from milepost.checkpointing.stores.s3 import S3CheckpointStore
from milepost.checkpointing.testing import make_record

from support.ports import free_port
from support.s3_server import BUCKET, MotoServer, s3_client, store_url
from support.stripping_proxy import stripping_proxy

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


def test_a_server_that_ignores_if_none_match_is_refused(
    moto_server: MotoServer, prefix: str
) -> None:
    with (
        stripping_proxy(moto_server.endpoint) as endpoint,
        pytest.raises(Refused, match="If-None-Match"),
    ):
        open_store(store_url(endpoint, prefix), FAST)


def test_the_proxy_itself_is_no_reason_to_refuse(moto_server: MotoServer, prefix: str) -> None:
    with (
        stripping_proxy(moto_server.endpoint, "X-Nothing") as endpoint,
        open_store(store_url(endpoint, prefix), FAST) as store,
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


@pytest.mark.parametrize("data", [b"", b"short", b"MPCK" + b"\xff" * 300])
def test_a_damaged_object_is_corrupt_and_named(
    moto_server: MotoServer, bucket: Any, prefix: str, data: bytes
) -> None:
    record = make_record("run", 3, kind=Kind.MANUAL)
    with open_store(store_url(moto_server.endpoint, prefix), FAST) as store:
        store.put(record)
        (name,) = names(bucket, prefix)
        bucket.put_object(Bucket=BUCKET, Key=name, Body=data)
        for call in (lambda: store.get(record.key), lambda: store.latest("run", Kind.MANUAL)):
            with pytest.raises(Corrupt) as caught:
                call()
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


def test_more_than_a_thousand_are_listed_and_deleted(moto_server: MotoServer, prefix: str) -> None:
    with open_store(store_url(moto_server.endpoint, prefix), FAST) as store:
        assert isinstance(store, S3CheckpointStore)
        for sequence in range(1_010):
            record = make_record("run", sequence)
            store._create(store._name(record.key), record.header + record.body)
        page = store.history("run", limit=1_005)
        assert [page.items[0].key.sequence, page.items[-1].key.sequence] == [1_009, 5]
        assert len(store.history("run", limit=1_005, cursor=page.cursor).items) == 5
        assert store.delete_run("run") == 1_010
