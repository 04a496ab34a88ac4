"""What stages have really done: a file that any number of processes append to."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Effect:
    """One execution of a stage's body, noted as its first act."""

    run: str
    stage: str
    attempt: int
    pid: int
    time: float
    key: str = ""


class Ledger:
    """Appends with one ``write`` to an ``O_APPEND`` file, so that entries neither mix nor get lost."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, run: str, stage: str, attempt: int, key: str = "") -> None:
        """Note that *stage* begins here and now, by which idempotency key."""
        # Not `time.time`, which a test may have set to be wrong.
        now = time.clock_gettime(time.CLOCK_REALTIME)
        effect = Effect(run, stage, attempt, os.getpid(), now, key)
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, json.dumps(asdict(effect)).encode() + b"\n")
        finally:
            os.close(file)

    @property
    def size(self) -> int:
        """How long the file is: it grows with each entry."""
        return self.path.stat().st_size if self.path.exists() else 0

    def all(self) -> list[Effect]:
        """Return all that was noted, oldest first."""
        if not self.path.exists():
            return []
        return [Effect(**json.loads(line)) for line in self.path.read_text().splitlines()]

    def entries(self, run: str) -> list[Effect]:
        """Return what was noted for *run*, oldest first."""
        return [effect for effect in self.all() if effect.run == run]
