"""Checkpoints in Redis, with S3 or any other store behind it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal, NamedTuple

from ..errors import AlreadyExists, CheckpointError, Misconfigured, NotFound, Unavailable
from ..models import MAIN_LANE, CheckpointKey, Kind, Record
from ..page import Page
from ..redis_connection import ALL_PREFIXES, Scripts, prefix_of, translated
from ..settings import CheckpointSettings
from .base import CheckpointStore, Entry
from .redis import LogKeys, RedisCheckpointStore

logger = logging.getLogger("milepost.checkpointing")

Durability = Literal["sync", "async"]
_CARRIED_AT_ONCE = 100
_PAUSE_SECONDS = 0.5
_SWEEP_SECONDS = 30.0
"""How long what a dead process has left may wait, if nobody asks for its run before."""


class _Keys(NamedTuple):
    """The hot tier's keys of a run: its log, whether the server has seen all of it, what is to be carried,
    and how often it was deleted or its expiry set."""

    headers: str
    bodies: str
    paths: str
    seen: str
    pending: str
    generation: str

    @classmethod
    def of(cls, run_id: str) -> _Keys:
        prefix = prefix_of(run_id)
        names = (f"seen:{run_id}", "pending", f"generation:{run_id}")
        return cls(*LogKeys.of(run_id)[:3], *(f"{prefix}tier:{name}" for name in names))


class TieredCheckpointStore(CheckpointStore):
    """Writes to the hot tier, then to the cold one; reads the last record from the hot one.

    The cold tier is the truth, the hot one a copy that may be lost at any time: a Redis that was restarted,
    emptied or replaced is noticed by its run id, and the run is read from the cold tier once. What is in the
    hot tier and not yet in the cold one is noted there in the same script, and carried over by any process
    that has the store open.

    ``sync``: a put returns when the record is in both. ``async``: it returns when it is in the hot tier, and
    a thread carries it over within about a second; what the hot tier loses before that is lost, and the
    run goes on from the record before. In both cases a process that dies leaves nothing that is not
    carried over later. Pieces of large states and blobs are in the cold tier alone, and there before what
    refers to them. Deleting a single record while another process carries it over may leave it in the
    cold tier; deleting a run does not.

    Args:
        hot: A Redis; its records of a run go some time after the last one was carried over.
        cold: Any other store.
    """

    def __init__(
        self,
        hot: CheckpointStore,
        cold: CheckpointStore,
        durability: Durability = "sync",
        settings: CheckpointSettings | None = None,
    ) -> None:
        if not isinstance(hot, RedisCheckpointStore):
            raise Misconfigured(
                f"The hot tier {hot.location} is no Redis: expected redis://…|<any other store>."
            )
        self._hot, self._cold, self._is_sync = hot, cold, durability == "sync"
        settings = settings or CheckpointSettings()
        self._ttl_ms = int(settings.hot_seconds * 1000)
        self._scripts = Scripts(
            hot.client,
            __package__,
            *("tier_put", "tier_get", "tier_latest", "tier_fill", "tier_done"),
            *("tier_expire", "tier_drop"),
            shared="_tier",
        )
        self._carrying = threading.RLock()
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._carry_on, name="milepost-tiers", daemon=True)
        self._thread.start()

    @property
    def tiers(self) -> tuple[RedisCheckpointStore, CheckpointStore]:
        """The hot tier and the cold one."""
        return self._hot, self._cold

    @property
    def location(self) -> str:
        return f"{self._hot.location}|{self._cold.location}" + ("" if self._is_sync else "|async")

    def put(self, record: Record) -> None:
        if record.key.kind is Kind.BLOB:
            self._cold.put(record)
            return
        key, keys = record.key, _Keys.of(record.key.run_id)
        args = [key.series, self._ttl_ms, key.path, record.header, record.body, _member(key)]
        while (stands := self._call("tier_put", keys, args, key.run_id)) < 0:
            # Only the cold tier knows whether the number is taken.
            with suppress(NotFound):
                if self._cold.get(key) == record:
                    return
                raise _taken(key)
            self._fill(key.run_id, key.kind, key.lane)
        if not stands:
            raise _taken(key)
        if self._is_sync:
            self._carry(record)
        else:
            self._wake.set()

    def put_all(self, records: Sequence[Record]) -> None:
        # Pieces of large states stand in the cold tier before what refers to them does in any.
        self._cold.put_all(records)

    def get_all(self, keys: Sequence[CheckpointKey]) -> list[Record]:
        return self._cold.get_all(keys)

    def get(self, key: CheckpointKey) -> Record:
        if key.kind is Kind.BLOB:
            return self._cold.get(key)
        args = [key.path, _member(key)]
        found = self._call("tier_get", _Keys.of(key.run_id), args, key.run_id)
        return Record(key, *found) if found else self._cold.get(key)

    def latest(self, run_id: str, kind: Kind = Kind.COMMIT, lane: str = MAIN_LANE) -> Record | None:
        keys, args = _Keys.of(run_id), [f"{kind}/{lane}/", _run_member(run_id)]
        while True:
            found = self._call("tier_latest", keys, args, run_id)
            if found is None:
                self._fill(run_id, kind, lane)
                continue
            if not found:
                return self._cold.latest(run_id, kind, lane)
            path, header, body, is_pending = found
            record = Record(CheckpointKey.from_path(run_id, path.decode()), header, body)
            if is_pending and self._is_sync:
                # Its writer died, or is slow; what others build on it must not be lost.
                try:
                    self._carry(record)
                except AlreadyExists:
                    self._fill(run_id, kind, lane)
                    continue
            return record

    def history(
        self,
        run_id: str,
        kind: Kind = Kind.COMMIT,
        lane: str = MAIN_LANE,
        *,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Entry]:
        self._carry_run(run_id)
        return self._cold.history(run_id, kind, lane, cursor=cursor, limit=limit)

    def runs(self, *, cursor: str | None = None, limit: int = 100) -> Page[str]:
        self.carry_over()
        return self._cold.runs(cursor=cursor, limit=limit)

    def delete(self, key: CheckpointKey) -> bool:
        with self._carrying:
            was_hot = self._hot.delete(key)
            self._done(key)
            return self._cold.delete(key) or was_hot

    def delete_run(self, run_id: str) -> int:
        with self._carrying:
            self._carry_run(run_id)
            keys, args = _Keys.of(run_id), [_run_member(run_id), self._ttl_ms]
            self._call("tier_drop", keys, args, run_id)
            count = self._cold.delete_run(run_id)
            # Once more: what was copied from the cold tier meanwhile is not there any more.
            self._call("tier_drop", keys, args, run_id)
            return count

    def expire_run(self, run_id: str, at: datetime | None) -> None:
        with self._carrying:
            self._carry_run(run_id)
            self._cold.expire_run(run_id, at)
            over = int(at.timestamp() * 1000) if at else ""
            self._call("tier_expire", _Keys.of(run_id), [over, self._ttl_ms], run_id)

    def expires_at(self, run_id: str) -> datetime | None:
        return self._cold.expires_at(run_id)

    def carry_over(self) -> int:
        """Carry everything over that is waiting and return how many records that were.

        Raises:
            Unavailable: A tier does not answer; what was not carried waits on.
        """
        return sum(self._carry_all(prefix, "-", "+") for prefix in ALL_PREFIXES)

    def close(self) -> None:
        """Carry over what is waiting, as far as the tiers answer, and close both."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._wake.set()
        self._thread.join()
        try:
            self.carry_over()
        except CheckpointError as error:
            logger.warning("Checkpoints wait in %s to be carried over: %s", self.location, error)
        self._hot.close()
        self._cold.close()

    def _fill(self, run_id: str, kind: Kind, lane: str) -> None:
        """Let the hot tier know what the cold one has for last, and that it may be asked again."""
        keys = _Keys.of(run_id)
        with translated(self._hot.location, run_id):
            generation: Any = self._hot.client.get(keys.generation)
        last = self._cold.latest(run_id, kind, lane)
        at = self._cold.expires_at(run_id)
        found = [last.key.path, last.header, last.body] if last else ["", "", ""]
        over = int(at.timestamp() * 1000) if at else ""
        args = [f"{kind}/{lane}/", self._ttl_ms, *found, over, generation or ""]
        self._call("tier_fill", keys, [*args, _run_member(run_id)], run_id)

    def _carry(self, record: Record) -> None:
        try:
            self._cold.put(record)
        except AlreadyExists:
            # The hot tier had lost what stands there, and took this in good faith.
            self._hot.delete(record.key)
            self._done(record.key)
            raise
        self._done(record.key)

    def _carry_key(self, key: CheckpointKey) -> bool:
        """Carry one record over; False if it has to wait for something that concerns it alone."""
        try:
            # What is deleted between the two in this process must not come back.
            with self._carrying:
                if self._waits(key):
                    self._carry(self._hot.get(key))
        except NotFound:
            self._done(key)
        except AlreadyExists as error:
            logger.error(
                "Checkpoint %s of run %s was written to %s while that had lost another one: %s",
                key.path,
                key.run_id,
                self._hot.location,
                error,
            )
        except Unavailable:
            raise
        except CheckpointError as error:
            logger.error("Checkpoint %s of run %s waits: %s", key.path, key.run_id, error)
            return False
        return True

    def _carry_run(self, run_id: str) -> None:
        member = _run_member(run_id)
        self._carry_all(prefix_of(run_id), f"[{member}", f"[{member}\xff")

    def _carry_all(self, prefix: str, low: str, high: str) -> int:
        count = 0
        while found := self._pending(prefix, low, high):
            count += sum(self._carry_key(key) for key in found)
            low = f"({_member(found[-1])}"
        return count

    def _waits(self, key: CheckpointKey) -> bool:
        with translated(self._hot.location, key.run_id):
            found: Any = self._hot.client.zscore(_Keys.of(key.run_id).pending, _member(key))
        return found is not None

    def _pending(self, prefix: str, low: str, high: str) -> list[CheckpointKey]:
        with translated(self._hot.location):
            members: Any = self._hot.client.zrangebylex(
                f"{prefix}tier:pending", low, high.encode("latin-1"), 0, _CARRIED_AT_ONCE
            )
        return [*_keys(members)]

    def _done(self, key: CheckpointKey) -> None:
        args = [_member(key), _run_member(key.run_id), self._ttl_ms]
        self._call("tier_done", _Keys.of(key.run_id), args, key.run_id)

    def _call(self, name: str, keys: Any, args: list[Any], run_id: str) -> Any:
        with translated(self._hot.location, run_id):
            return self._scripts.call(name, keys, args)

    def _carry_on(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(_SWEEP_SECONDS)
            self._wake.clear()
            if self._closed.is_set():
                return
            try:
                self.carry_over()
            except Exception as error:  # noqa: BLE001 - the thread must not end
                logger.warning("Carrying checkpoints over is tried again: %s", error)
                self._closed.wait(_PAUSE_SECONDS)
                self._wake.set()


def open_tiered(url: str, settings: CheckpointSettings | None = None) -> TieredCheckpointStore:
    """Open ``hot|cold`` or ``hot|cold|async``, where hot and cold are URLs of stores.

    Raises:
        Misconfigured: It has another form, or the hot tier is no Redis.
    """
    from . import open_store

    hot_url, cold_url, *rest = url.split("|")
    durability = rest[0] if rest else "sync"
    if len(rest) > 1 or durability not in ("sync", "async"):
        raise Misconfigured(
            "Tiers are written hot|cold, hot|cold|sync or hot|cold|async, as in "
            "redis://localhost/0|s3://bucket/prefix."
        )
    hot = open_store(hot_url, settings)
    try:
        cold = open_store(cold_url, settings)
        return TieredCheckpointStore(
            hot, cold, "sync" if durability == "sync" else "async", settings
        )
    except BaseException:
        hot.close()
        raise


def _taken(key: CheckpointKey) -> AlreadyExists:
    return AlreadyExists(f"{key.path} of run {key.run_id} is taken.", key=key)


def _run_member(run_id: str) -> str:
    return f"{run_id} "


def _member(key: CheckpointKey) -> str:
    return _run_member(key.run_id) + key.path


def _keys(members: list[bytes]) -> Iterator[CheckpointKey]:
    for member in members:
        run_id, _, path = member.decode().partition(" ")
        yield CheckpointKey.from_path(run_id, path)
