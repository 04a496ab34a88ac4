"""An expired run is as good as deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ..errors import NotFound
from ..models import Kind
from ..stores import CheckpointStore
from .records import make_record


def _past() -> datetime:
    return datetime.now(UTC) - timedelta(seconds=1)


def _future() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


class ExpiryContract:
    """`expire_run`."""

    def test_an_expired_run_is_gone_from_every_method(self, store: CheckpointStore) -> None:
        records = [make_record("run", 0), make_record("run", 1), make_record("run", lane="b")]
        records += [make_record("run", kind=Kind.MANUAL)]
        for record in records:
            store.put(record)
        first = store.history("run", limit=1)
        store.put(make_record("stays"))
        store.expire_run("run", _past())
        for record in records:
            with pytest.raises(NotFound):
                store.get(record.key)
            assert store.latest("run", record.key.kind, record.key.lane) is None
            assert store.history("run", record.key.kind, record.key.lane).items == ()
        assert store.history("run", cursor=first.cursor).items == ()
        assert store.runs().items == ("stays",)
        assert store.delete(records[0].key) is False
        assert store.delete_run("run") == 0

    def test_a_run_that_will_expire_is_there(self, store: CheckpointStore) -> None:
        record = make_record("run")
        store.put(record)
        store.expire_run("run", _future())
        assert store.get(record.key) == record
        assert store.latest("run") == record
        assert [entry.key for entry in store.history("run").items] == [record.key]
        assert store.runs().items == ("run",)
        store.put(make_record("run", 1))
        assert store.latest("run") == make_record("run", 1)
        assert len(store.history("run", limit=1).items) == 1
        assert store.delete_run("run") == 2

    def test_a_run_expires_at_its_time_and_not_before(self, store: CheckpointStore) -> None:
        record = make_record("run")
        store.put(record)
        at = datetime.now(UTC) + timedelta(milliseconds=250)
        store.expire_run("run", at)
        while True:
            before = datetime.now(UTC)
            last = store.latest("run")
            if last is None:
                break
            assert before < at + timedelta(seconds=2), "the run does not expire"
        # The store's clock may be another one; it is a millisecond's affair on the same host.
        assert datetime.now(UTC) > at - timedelta(milliseconds=20)

    def test_the_expiry_is_told(self, store: CheckpointStore) -> None:
        assert store.expires_at("run") is None
        store.put(make_record("run"))
        assert store.expires_at("run") is None
        at = _future().replace(microsecond=123_000)
        store.expire_run("run", at)
        assert store.expires_at("run") == at
        store.expire_run("run", None)
        assert store.expires_at("run") is None
        store.expire_run("run", _past())
        assert store.expires_at("run") is None

    def test_the_expiry_can_be_moved(self, store: CheckpointStore) -> None:
        store.put(make_record("run"))
        for hours in (3, 1, 2):
            store.expire_run("run", _future() + timedelta(hours=hours))
            assert store.runs().items == ("run",)
        store.expire_run("run", _past())
        assert store.runs().items == ()

    def test_the_expiry_can_be_taken_back(self, store: CheckpointStore) -> None:
        record = make_record("run")
        store.put(record)
        store.expire_run("run", _future())
        store.expire_run("run", None)
        assert store.latest("run") == record
        assert store.delete_run("run") == 1

    @pytest.mark.parametrize("hours", [None, 1])
    def test_what_has_expired_does_not_come_back(
        self, store: CheckpointStore, hours: int | None
    ) -> None:
        record = make_record("run")
        store.put(record)
        store.expire_run("run", _past())
        store.expire_run("run", None if hours is None else _future() + timedelta(hours=hours))
        assert store.latest("run") is None
        assert store.runs().items == ()

    def test_expiry_concerns_one_run(self, store: CheckpointStore) -> None:
        for name in ("run", "run-1", "ru", "runs"):
            store.put(make_record(name))
        store.expire_run("run", _past())
        assert store.runs().items == ("ru", "run-1", "runs")
        assert store.latest("run-1") == make_record("run-1")

    def test_a_run_without_records_stays_without(self, store: CheckpointStore) -> None:
        for at in (_future(), None, _past()):
            store.expire_run("run", at)
        assert store.runs().items == ()
        store.put(make_record("run"))
        assert store.latest("run") == make_record("run")

    def test_an_expired_run_that_was_deleted_can_begin_anew(self, store: CheckpointStore) -> None:
        store.put(make_record("run", note="old"))
        store.expire_run("run", _past())
        store.delete_run("run")
        store.put(make_record("run", note="new"))
        assert store.latest("run") == make_record("run", note="new")
        assert store.runs().items == ("run",)

    def test_a_write_after_expiry_begins_the_run_anew(self, store: CheckpointStore) -> None:
        for sequence in range(2):
            store.put(make_record("run", sequence, note="old"))
        store.expire_run("run", _past())
        store.put(make_record("run", note="new"))
        assert store.latest("run") == make_record("run", note="new")
        assert [entry.key.sequence for entry in store.history("run").items] == [0]
        assert store.runs().items == ("run",)

    def test_expiry_does_not_outlive_the_records(self, store: CheckpointStore) -> None:
        record = make_record("run")
        store.put(record)
        store.expire_run("run", _future())
        assert store.delete(record.key) is True
        assert store.runs().items == ()
        assert store.delete_run("run") == 0
