"""Entries, notes and unusable messages in Redis."""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from typing import Any

import redis

from milepost.checkpointing.redis_connection import ALL_PREFIXES, prefix_of, translated

from .registry import ASIDE_KEPT, NOTES_OF_A_RUN, NOTES_OF_ALL, Note, Registry

_ASIDE = "milepost:aside"
_NOTES = "milepost:notes"


class RedisRegistry(Registry):
    """One hash a kind of entries; notes of a run beside its head, those of all in a list."""

    client: redis.Redis

    @property
    @abstractmethod
    def location(self) -> str:
        """The URL of the store, without its password."""

    def keep(self, kind: str, name: str, value: str | None) -> None:
        with translated(self.location):
            if value is None:
                self.client.hdel(_kind(kind), name)
            else:
                self.client.hset(_kind(kind), name, value)

    def keep_first(self, kind: str, name: str, value: str) -> str:
        with translated(self.location):
            self.client.hsetnx(_kind(kind), name, value)
            return _text(self.client.hget(_kind(kind), name))

    def kept(self, kind: str) -> dict[str, str]:
        with translated(self.location):
            raw: Any = self.client.hgetall(_kind(kind))
        return {_text(name): _text(value) for name, value in raw.items()}

    def kept_one(self, kind: str, name: str) -> str | None:
        with translated(self.location):
            value = self.client.hget(_kind(kind), name)
        return None if value is None else _text(value)

    def now(self) -> int:
        with translated(self.location):
            seconds, microseconds = self.client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def last_look(self) -> int | None:
        with translated(self.location):
            # A look sweeps all shards in one script.
            looked = self.client.get(f"{ALL_PREFIXES[-1]}looked")
        return int(_text(looked)) if looked else None

    def note(self, *notes: Note) -> None:
        now = self.now()
        with translated(self.location), self.client.pipeline(transaction=False) as pipe:
            for note in notes:
                text = json.dumps([note.run_id, note.by, note.command, note.detail, now])
                pipe.lpush(_NOTES, text)
                if note.run_id:
                    of_run = _notes_of(note.run_id)
                    pipe.lpush(of_run, text)
                    pipe.ltrim(of_run, 0, NOTES_OF_A_RUN - 1)
            pipe.ltrim(_NOTES, 0, NOTES_OF_ALL - 1)
            pipe.execute()

    def notes(self, run_id: str | None = None, limit: int = 100) -> list[Note]:
        name = _NOTES if run_id is None else _notes_of(run_id)
        with translated(self.location):
            return [Note(*json.loads(entry)) for entry in self.client.lrange(name, 0, limit - 1)]

    def put_aside(self, reason: str, message: str) -> None:
        entry = json.dumps({"reason": reason, "message": message, "at": f"{time.time():.3f}"})
        with translated(self.location), self.client.pipeline() as pipe:
            pipe.lpush(_ASIDE, entry)
            pipe.ltrim(_ASIDE, 0, ASIDE_KEPT - 1)
            pipe.execute()

    def aside(self, limit: int = 100) -> list[dict[str, str]]:
        with translated(self.location):
            return [json.loads(entry) for entry in self.client.lrange(_ASIDE, 0, limit - 1)]


def _kind(kind: str) -> str:
    return f"milepost:registry:{kind}"


def _notes_of(run_id: str) -> str:
    return f"{prefix_of(run_id)}notes:{run_id}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
