"""What is reported of a fleet: its workers, and the queues they take from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["up", "draining", "silent"]


def worker_key(name: str, host: str, pid: int) -> str:
    """Return what tells workers apart that have one name, and under which they stand in the run store.

    A container that is started again has the key it had before.
    """
    return f"{name}|{host}|{pid}"


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One worker, as it last reported itself. Times are milliseconds of the run store's clock."""

    name: str
    """Celery's name of the node. Workers of one host that were given no name of their own share it."""
    host: str
    pid: int
    pool: str
    """prefork, threads or solo."""
    concurrency: int
    queues: tuple[str, ...]
    """From which it takes, or would if they were not paused."""
    started_at: int
    seen_at: int
    state: State
    """Silent is who was not heard of for as long as a process counts as gone then."""
    versions: dict[str, str]
    """The highest version of each pipeline it knows, by name."""
    holding: tuple[str, ...]
    """The runs whose stages it runs now."""
    busy: dict[str, int] = field(default_factory=dict)
    """How many of those are of which queue."""
    known: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The stages at which it can go on with a run, by pipeline and version: ``flights 2``."""
    software: dict[str, str] = field(default_factory=dict)
    """What it runs on: milepost, celery, kombu, redis, python."""
    clock_skew_ms: int = 0
    """How far its host's clock is ahead of the run store's."""

    @property
    def key(self) -> str:
        """Under which the report stands in the run store."""
        return worker_key(self.name, self.host, self.pid)

    def to_json(self) -> str:
        """Write the report as the run store keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerReport:
        """Read what `to_json` wrote, here or in another release.

        Raises:
            ValueError: It is none.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            values = {name: raw[name] for name in cls.__dataclass_fields__ if name in raw}
            for name in ("queues", "holding"):
                values[name] = tuple(values[name])
            known = values.get("known", {})
            values["known"] = {version: tuple(stages) for version, stages in known.items()}
            return cls(**values)
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"no report of a worker: {error!r}") from None


@dataclass(frozen=True, slots=True)
class QueueReport:
    """One queue: what waits on it, and who takes from it."""

    name: str
    depth: int | None
    """How many messages wait, of all priorities; None: the broker does not say."""
    age_seconds: float | None
    """How long the oldest of them waits; 0 if none does, None if that is not known."""
    paused: bool
    paused_by: str
    """Who paused it; empty if nobody did."""
    workers: int
    """How many take from it, or would if it were not paused; neither silent nor draining ones."""
    running: int = 0
    """How many of its stages run now."""
    capacity: int = 0
    """How many stages those workers can run at once; one that takes from two queues counts at both."""
