"""What an S3 server, or the way to it, does wrong: one named error, and what stood still stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from milepost.checkpointing import (
    AlreadyExists,
    CheckpointManager,
    CheckpointSettings,
    CheckpointStore,
    Refused,
    Unavailable,
    open_store,
)
from milepost.checkpointing.testing import make_record
from support.s3_proxy import Answer, Fault, S3Proxy, s3_proxy
from support.s3_server import MotoServer, store_url

CONFLICT = Answer(409, "ConditionalRequestConflict")
BUSY = Answer(503, "SlowDown")
STALE = Answer(404, "NoSuchKey")
EXPIRED = Answer(400, "ExpiredToken")
DENIED = Answer(403, "AccessDenied")


@pytest.fixture
def proxy(moto_server: MotoServer) -> Iterator[S3Proxy]:
    with s3_proxy(moto_server.endpoint) as proxy:
        yield proxy


def opened(proxy: S3Proxy, retries: int = 0) -> CheckpointStore:
    """Open a store through the proxy, with one record."""
    settings = CheckpointSettings(store_timeout_seconds=1, store_retries=retries)
    store = open_store(store_url(proxy.url, f"faults/{uuid4().hex}"), settings)
    store.put(make_record("run", 0))
    return store


@pytest.mark.fault("F37", "F39", "F43")
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (BUSY, Unavailable),
        (Answer(500, "InternalError"), Unavailable),
        ("stall", Unavailable),
        ("lost reply", Unavailable),
        (EXPIRED, Refused),
        (DENIED, Refused),
    ],
    ids=str,
)
def test_a_write_that_goes_wrong_is_named(
    proxy: S3Proxy, fault: Fault, error: type[Exception]
) -> None:
    with opened(proxy) as store:
        proxy.faults.append(("PUT", fault))
        with pytest.raises(error) as caught:
            store.put(make_record("run", 1))
        if isinstance(fault, Answer):
            assert fault.code in str(caught.value)
        arrived = fault == "lost reply"
        assert store.latest("run") == make_record("run", int(arrived))
        store.put(make_record("run", 1))
        assert store.latest("run") == make_record("run", 1)


@pytest.mark.fault("F37", "F40")
@pytest.mark.parametrize(
    ("fault", "error"),
    [(BUSY, Unavailable), ("stall", Unavailable), ("short body", Unavailable), (EXPIRED, Refused)],
    ids=str,
)
def test_a_read_that_goes_wrong_is_named(
    proxy: S3Proxy, fault: Fault, error: type[Exception]
) -> None:
    with opened(proxy) as store:
        key = make_record("run").key
        for call in (
            lambda: store.latest("run"),
            lambda: store.history("run"),
            lambda: store.get_all([key]),
        ):
            proxy.faults.append(("GET", fault))
            with pytest.raises(error):
                call()
        assert not proxy.faults
        assert store.latest("run") == make_record("run")


@pytest.mark.fault("F10", "F39")
@pytest.mark.parametrize("fault", [BUSY, "lost reply"], ids=str)
def test_once_is_made_good_by_another_try(proxy: S3Proxy, fault: Fault) -> None:
    with opened(proxy, retries=2) as store:
        proxy.faults.append(("PUT", fault))
        store.put(make_record("run", 1))
        assert not proxy.faults
        proxy.faults.append(("GET", fault))
        assert store.latest("run") == make_record("run", 1)
        assert not proxy.faults


@pytest.mark.fault("F38")
def test_two_writes_at_once_are_decided_later(proxy: S3Proxy) -> None:
    """S3 answers 409 while another conditional write is under way: the same request decides then."""
    with opened(proxy) as store:
        proxy.faults.extend([("PUT", CONFLICT)] * 3)
        store.put(make_record("run", 1))
        assert store.latest("run") == make_record("run", 1)
        proxy.faults.extend([("PUT", CONFLICT)] * 2)
        with pytest.raises(AlreadyExists):
            store.put(make_record("run", 1, note="another"))
        proxy.faults.extend([("PUT", CONFLICT)] * 20)
        with pytest.raises(Unavailable, match="409"):
            store.put(make_record("run", 2))
        proxy.faults.clear()
        assert store.latest("run") == make_record("run", 1)


@pytest.mark.fault("F9")
def test_a_piece_that_does_not_arrive_leaves_the_last_checkpoint(proxy: S3Proxy) -> None:
    settings = CheckpointSettings(blob_from_bytes=64 * 1024, compression="none")
    with CheckpointManager(opened(proxy), settings) as manager:
        manager.create("job", {"rows": "small"})
        proxy.faults.append(("PUT", BUSY))
        with pytest.raises(Unavailable):
            manager.create("job", {"rows": "x" * 3_000_000})
        assert manager.restore("job").state == {"rows": "small"}  # type: ignore[union-attr]
        manager.create("job", {"rows": "x" * 3_000_000})
        assert manager.restore("job").state == {"rows": "x" * 3_000_000}  # type: ignore[union-attr]


@pytest.mark.fault("F37")
@pytest.mark.parametrize(
    "fault",
    [BUSY, Answer(500, "InternalError"), Answer(429, "TooManyRequests"), "lost reply"],
    ids=str,
)
def test_a_server_in_trouble_is_asked_so_often_and_no_more(proxy: S3Proxy, fault: Fault) -> None:
    with opened(proxy, retries=2) as store:
        calls: list[tuple[str, Callable[[], object]]] = [
            ("PUT", lambda: store.put(make_record("run", 1))),
            ("GET", lambda: store.latest("run")),
        ]
        for method, call in calls:
            proxy.faults.extend([(method, fault)] * 50)
            before = proxy.requests
            with pytest.raises(Unavailable):
                call()
            # What a put asks first, whether the run has expired, is answered.
            assert proxy.requests - before <= 3 + (method == "PUT")
            proxy.faults.clear()
        assert store.latest("run") == make_record("run", int(fault == "lost reply"))


@pytest.mark.fault("F40")
def test_what_is_listed_and_not_there_is_no_empty_run(proxy: S3Proxy) -> None:
    """Once: it is asked again. Always: it is said, after a few times."""
    with opened(proxy) as store:
        proxy.faults.extend([("GET", None), ("GET", STALE)])
        assert store.latest("run") == make_record("run")
        proxy.gone = True
        before = proxy.requests
        with pytest.raises(Unavailable, match="lists"):
            store.latest("run")
        assert proxy.requests - before < 20
