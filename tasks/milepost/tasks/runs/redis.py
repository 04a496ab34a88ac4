"""Runs in Redis or Valkey: one Lua file an operation, one round trip a call (listing takes more).

All keys of a run, and the indexes it is in, lie in the run's hash slot (`SHARDS` of them); of the scripts
on one run only the rare trial of a suspect looks beyond. The operations that sweep all shards name them
all in one call.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from secrets import token_hex
from typing import Any

import redis

from milepost.checkpointing import AlreadyExists, CheckpointStore, Record
from milepost.checkpointing.redaction import redacted
from milepost.checkpointing.redis_connection import (
    ALL_PREFIXES,
    Scripts,
    open_redis,
    prefix_of,
    translated,
)
from milepost.checkpointing.stores.redis import LogKeys, RedisCheckpointStore

from ..errors import MovedOn
from ..head import Head, RunStatus, Step
from ..settings import TaskSettings
from ..transitions import ALLOWED, Command
from .base import (
    BUDGET_CALLS_KEPT,
    IDENTITY_KEY,
    LEASE_MS,
    Advance,
    Bid,
    Birth,
    Cause,
    Claim,
    Commit,
    Intent,
    Landing,
    Look,
    Push,
    Refusal,
    RunStore,
    due_fields,
    paused_places,
    seen_places,
)
from .redis_listing import RedisListing
from .redis_registry import RedisRegistry

_SCRIPTS = (
    "create_many", "claim", "advance", "save", "spend", "fail", "hand_back", "put_off", "divert", "beat",
    "bury", "look", "requeue", "set_budget", "mark", "reinstate", "pause", "resume", "intend", "settle",
    "delete",
)  # fmt: skip
_DEFAULTS = {field.name: str(field.default) for field in fields(Head) if field.name != "tags"} | {
    "tags": "[]"
}
_OWN = {"run_id", "digest", "checkpoint_id", "created_at", "status", "published_at", "updated_at"}
"""What is a new run's own."""


_FRESH = {"failures": 0, "crashes": 0, "suspicions": 0, "trial": 0, "error": ""}
"""What a head says of a stage that was not tried yet."""


class RedisRunStore(RedisListing, RedisRegistry, RunStore):
    """Keeps runs in the Redis or Valkey at *url*."""

    def __init__(self, url: str, settings: TaskSettings | None = None) -> None:
        self._settings = settings or TaskSettings()
        self._location = redacted(url)
        self.client: redis.Redis = open_redis(url, self._settings)
        self._scripts = Scripts(self.client, __package__, *_SCRIPTS, shared="_head")
        self._lapse_ms = int(self._settings.heartbeat_lapse_seconds * 1000)
        self._ttl_ms = int(self._settings.retention_seconds * 1000)
        self._patience_ms = int(self._settings.patience_seconds * 1000)

    @property
    def location(self) -> str:
        return self._location

    def identity(self) -> str:
        with translated(self.location):
            self.client.set(IDENTITY_KEY, token_hex(8), nx=True)
            return str(self._text(self.client.get(IDENTITY_KEY)))

    def holds_log(self, log: CheckpointStore) -> bool:
        # A URL can be written in many ways; a key seen through both clients proves it.
        if not isinstance(log, RedisCheckpointStore) or log.prefix:
            return False
        mine = self.identity()
        with translated(log.location):
            return self._text(log.client.get(IDENTITY_KEY)) == mine

    def create(
        self, head: Head, *, record: Record | None, push: Push | None, delay_ms: int = 0
    ) -> Head | None:
        birth = Birth(head.run_id, head.digest, head.checkpoint_id, record, push)
        with translated(self.location, head.run_id):
            (outcome,) = self._created(head, [birth], delay_ms)
        if isinstance(outcome, AlreadyExists):
            raise outcome
        return outcome

    def create_many(
        self, head: Head, births: Sequence[Birth], *, delay_ms: int = 0
    ) -> list[Head | AlreadyExists | None]:
        with translated(self.location):
            return self._created(head, births, delay_ms)

    def _created(
        self, head: Head, births: Sequence[Birth], delay_ms: int
    ) -> list[Head | AlreadyExists | None]:
        # One call a shard, because the keys of a call have to be in one slot.
        shards: defaultdict[str, list[int]] = defaultdict(list)
        for place, birth in enumerate(births):
            shards[prefix_of(birth.run_id)].append(place)
        queue = next((birth.push.queue_key for birth in births if birth.push), "")
        common = [head.at, queue, delay_ms, self._patience_ms, json.dumps(head.tags), head.pipeline]
        shared = _told(head, *_OWN)
        calls = []
        for prefix, places in shards.items():
            args: list[Any] = [prefix, head.tenant, *common, len(shared), *shared]
            for run_id, digest, checkpoint_id, record, push in (births[place] for place in places):
                payload = push.payload if push else ""
                args += run_id, digest, checkpoint_id, *_record(record), payload
            calls.append(([f"{prefix}run:{births[places[0]].run_id}"], args))
        replies = self._scripts.call_many("create_many", calls)
        outcomes: list[Head | AlreadyExists | None] = [None] * len(births)
        for places, reply in zip(shards.values(), replies, strict=True):
            for number, outcome in zip(reply[::2], reply[1::2], strict=True):
                place = places[number - 1]
                run_id = births[place].run_id
                outcomes[place] = self._born_as(run_id, outcome)
        return outcomes

    def _born_as(self, run_id: str, reply: Any) -> Head | AlreadyExists | None:
        match self._text(reply[0]):
            case "occupied":
                return AlreadyExists(
                    f"The log of run {run_id} exists though the run does not; delete its "
                    "checkpoints or take another run id.",
                    run_id=run_id,
                )
            case "exists":
                return _head(reply[1])
        return None

    def claim(self, step: Step, bid: Bid) -> Claim | Refusal:
        log = LogKeys.of(step.run_id)
        prefix = prefix_of(step.run_id)
        keys = [f"{prefix}run:{step.run_id}", log.headers, log.bodies]
        args = [
            prefix,
            self._settings.max_crashes,
            step.run_id,
            step.timeline,
            step.lane,
            step.sequence,
            step.stage,
            *self._bid(bid),
        ]
        while True:
            with translated(self.location, step.run_id):
                (outcome, *record), found = self._scripts.call_and_read("claim", keys, args)
            if self._text(outcome) != "claimed":
                return Refusal(self._text(outcome))
            head = Head.from_fields(found.items())
            # Else it was taken away again in between: what stands now decides.
            if head.nonce == bid.nonce:
                return Claim(head, bid.nonce, Record(head.key, *record) if record[0] else None)

    def advance(self, claim: Claim, commit: Commit) -> Advance | Claim:
        following, bid = commit.following, commit.bid
        due = _FRESH | due_fields(following, self._patience_ms)
        # While the claim stands nobody else changes these; what is not written costs nothing, now or when it
        # is read. But of the stage the head may have another name here than there.
        changed = {
            name: value
            for name, value in due.items()
            if name == "stage" or getattr(claim.head, name) != value
        }
        fields = changed | dict(commit.changes)
        args = [
            claim.token,
            claim.nonce,
            commit.checkpoint_id,
            commit.path,
            commit.sequence,
            commit.timeline,
            RunStatus.QUEUED if following else commit.status,
            self._ttl_ms,
            *_push(commit.push),
            self._patience_ms,
            *_record(commit.record),
            commit.spent,
            commit.size_bytes,
            *(self._bid(bid) if bid else ("",) * 5),
            *(part for pair in fields.items() for part in pair),
        ]
        run_id = claim.head.run_id
        if bid is None:
            return Advance(self._text(self._run("advance", run_id, args, log=True)))
        with translated(self.location, run_id):
            call = self._call(run_id, args, log=True)
            reply, found = self._scripts.call_and_read("advance", *call)
        if self._text(reply) != "given":
            return Advance(self._text(reply))
        head = Head.from_fields(found.items())
        # Else it is committed, but the claim on what follows was taken away again in between.
        return (
            Claim(head, bid.nonce, commit.record) if head.nonce == bid.nonce else Advance.ADVANCED
        )

    def save(self, claim: Claim, *, path: str, progress: str, record: Record | None) -> bool:
        args = [claim.token, claim.nonce, path, progress, *_record(record)]
        return bool(self._run("save", claim.head.run_id, args, log=True))

    def spend(self, claim: Claim, spent: str, *, kept: bool) -> bool:
        args = [claim.token, claim.nonce, spent, int(kept)]
        return bool(self._run("spend", claim.head.run_id, args))

    def fail(self, claim: Claim, error: str, delay_ms: int | None) -> bool:
        args = [claim.token, claim.nonce, error, -1 if delay_ms is None else delay_ms]
        return bool(self._text(self._run("fail", claim.head.run_id, args)) == "failed")

    def hand_back(self, claim: Claim, push: Push | None) -> bool:
        args = [claim.token, claim.nonce, *_push(push), self._patience_ms]
        return bool(self._text(self._run("hand_back", claim.head.run_id, args)) == "queued")

    def put_off(
        self, head: Head, *, nonce: str, delay_ms: int | None, error: str, ran: bool
    ) -> bool:
        delay = -1 if delay_ms is None else delay_ms
        args = [head.timeline, head.sequence, nonce, delay, error, int(ran)]
        return bool(self._run("put_off", head.run_id, args))

    def set_budget(self, head: Head, budget: str, call: str, *, seen: Head | None = None) -> bool:
        kept = " ".join([call, *head.budget_calls.split()][:BUDGET_CALLS_KEPT])
        args = [head.budget, head.budget_calls, budget, kept, call, *seen_places(seen)]
        return bool(self._run("set_budget", head.run_id, args))

    def divert(self, claim: Claim) -> int | None:
        args = [claim.token, claim.nonce, claim.head.timeline]
        return self._run("divert", claim.head.run_id, args) or None

    def beat(self, owner: str, held: Collection[str], as_of: int, *, leaving: bool) -> set[str]:
        args = [owner, self._lapse_ms, as_of, int(leaving), len(ALL_PREFIXES), *ALL_PREFIXES, *held]
        return {self._text(nonce) for nonce in self._sweep("beat", args)}

    def bury(self, owner: str, cause: Cause) -> list[str]:
        return [self._text(run) for run in self._sweep("bury", [owner, cause, *ALL_PREFIXES])]

    def look(self, limit: int = 100) -> Look:
        args = [limit, LEASE_MS, self._lapse_ms, self._lapse_ms, *ALL_PREFIXES]
        flows, *heads = self._sweep("look", args)
        newest = {}
        for flow, at in zip(flows[::2], flows[1::2], strict=True):
            queue, _, priority = self._text(flow).partition("\n")
            newest[queue, int(priority)] = int(at)
        return Look(tuple(_head(flat) for flat in heads), newest)

    def requeue(self, head: Head, *, push: Push | None, published: bool, patience_ms: int) -> bool:
        args = [head.timeline, head.sequence, head.published_at, *_push(push), int(published)]
        return bool(self._run("requeue", head.run_id, [*args, patience_ms]))

    def mark(self, head: Head) -> bool:
        args = [head.status, head.timeline, head.sequence, -1]
        return bool(self._run("mark", head.run_id, args))

    def unmark(self, head: Head) -> bool:
        args = [head.status, head.timeline, head.sequence, LEASE_MS]
        return bool(self._run("mark", head.run_id, args))

    def reinstate(self, head: Head, delay_ms: int = 0) -> bool:
        about = [
            json.dumps(head.tags),
            head.pipeline,
            head.status,
            head.token,
            self._ttl_ms,
            delay_ms,
        ]
        told = _told(head, "run_id", "created_at", "status")
        return bool(self._run("reinstate", head.run_id, [*about, *told]))

    def pause(self, run_id: str, *, seen: Head | None = None) -> RunStatus | None:
        return self._status(self._run("pause", run_id, [*paused_places(seen)]))

    def resume(self, head: Head, *, seen: Head | None = None) -> bool:
        if head.status not in ALLOWED[Command.RETRY] | ALLOWED[Command.RESUME]:
            return False
        args = [head.status, head.timeline, head.sequence, *seen_places(seen, pause=0)]
        return bool(self._run("resume", head.run_id, args)[0])

    def intend(self, run_id: str, intent: Intent) -> tuple[bool, RunStatus | None]:
        at = ("", "") if intent.position is None else intent.position
        where = [*at, *seen_places(intent.seen)]
        args = [intent.checkpoint_id, intent.status, LEASE_MS, *where, *sorted(intent.allowed)]
        reply = self._run("intend", run_id, args, log=True)
        return (bool(reply[0]), self._status(reply[1])) if reply else (False, None)

    def settle(self, head: Head, landing: Landing) -> bool:
        following = landing.following
        fields = due_fields(following, self._patience_ms) if following else {}
        args = [
            head.intent,
            landing.checkpoint_id,
            landing.path,
            landing.sequence,
            landing.status,
            self._ttl_ms,
            *_record(landing.record),
            *(part for pair in {**fields, **landing.changes}.items() for part in pair),
        ]
        return bool(self._run("settle", head.run_id, args, log=True))

    def delete(self, head: Head) -> bool:
        return bool(self._run("delete", head.run_id, [head.intent]))

    def get(self, run_id: str) -> Head | None:
        with translated(self.location, run_id):
            raw: Any = self.client.hgetall(f"{prefix_of(run_id)}run:{run_id}")
        return Head.from_fields(raw.items()) if raw else None

    def get_many(self, run_ids: Sequence[str]) -> list[Head | None]:
        with translated(self.location), self.client.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                pipe.hgetall(f"{prefix_of(run_id)}run:{run_id}")
            replies: list[Any] = pipe.execute() if run_ids else []
        return [Head.from_fields(raw.items()) if raw else None for raw in replies]

    def close(self) -> None:
        self.client.close()

    def _bid(self, bid: Bid) -> tuple[str | int, ...]:
        return (bid.owner, bid.nonce, bid.ordinal, bid.worker, self._lapse_ms)

    def _call(
        self, run_id: str, args: list[Any], *, log: bool
    ) -> tuple[Sequence[str], Sequence[Any]]:
        prefix = prefix_of(run_id)
        keys = [f"{prefix}run:{run_id}", *(LogKeys.of(run_id) if log else ())]
        return keys, [prefix, run_id, *args]

    def _run(self, name: str, run_id: str, args: list[Any], *, log: bool = False) -> Any:
        with translated(self.location, run_id):
            reply = self._scripts.call(name, *self._call(run_id, args, log=log))
        if isinstance(reply, list) and reply and reply[0] == b"moved on":
            raise MovedOn.of(run_id, self._text(reply[1]))
        return reply

    def _sweep(self, name: str, args: list[Any]) -> Any:
        with translated(self.location):
            return self._scripts.call(name, [], ["", self._settings.max_crashes, *args])

    @staticmethod
    def _text(value: Any) -> str:
        return value.decode() if isinstance(value, bytes) else value

    def _status(self, reply: Any) -> RunStatus | None:
        return RunStatus(self._text(reply)) if reply else None


def _head(flat: Iterable[bytes]) -> Head:
    parts = iter(flat)
    return Head.from_fields(zip(parts, parts, strict=True))


def _told(head: Head, *but: str) -> list[str]:
    """Return as a flat list the fields of *head* that are not what a head without them has."""
    told = {k: v for k, v in head.to_fields().items() if k not in but and v != _DEFAULTS[k]}
    return [part for pair in told.items() for part in pair]


def _push(push: Push | None) -> tuple[str, str]:
    return (push.queue_key, push.payload) if push else ("", "")


def _record(record: Record | None) -> tuple[bytes, bytes]:
    return (record.header, record.body) if record else (b"", b"")
