"""What processes and a server take, at rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import psutil
import redis

from support.processes import Worker


@dataclass(frozen=True, slots=True)
class Reading:
    """One moment: memory in bytes, the rest counted."""

    stages: int
    main: int
    """Memory of the worker's main process that it shares with none."""
    child: int
    """The same of the largest of its children."""
    files: int
    """Open files and sockets of all of them."""
    threads: int
    server: int
    """What the server's data take, without buffers and overhead."""
    peak: int
    """The most that the server has ever used."""
    keys: int

    @classmethod
    def take(cls, stages: int, worker: Worker, server: redis.Redis) -> Self:
        """Read everything now."""
        main = psutil.Process(worker.pid)
        children = main.children(recursive=True)
        memory: Any = server.info("memory")
        keys: Any = server.dbsize()
        return cls(
            stages=stages,
            main=main.memory_full_info().uss,
            child=max(child.memory_full_info().uss for child in children),
            files=sum(one.num_fds() for one in (main, *children)),
            threads=sum(one.num_threads() for one in (main, *children)),
            server=memory["used_memory_dataset"],
            peak=memory["used_memory_peak"],
            keys=keys,
        )

    def __str__(self) -> str:
        return (
            f"{self.stages:>9,} stages: main {self.main / 1e6:6.1f} MB, child {self.child / 1e6:6.1f} MB, "
            f"{self.files} files, {self.threads} threads; server {self.server / 1e6:.2f} MB "
            f"(peak {self.peak / 1e6:.1f}), {self.keys} keys"
        )


@dataclass(frozen=True, slots=True)
class Growth:
    """What there is more of at the end than there was when everything had been run once."""

    warm: Reading
    last: Reading

    @property
    def memory(self) -> dict[str, int]:
        """Bytes more, by who has them."""
        return {
            name: getattr(self.last, name) - getattr(self.warm, name)
            for name in ("main", "child", "server")
        }

    @property
    def flat(self) -> bool:
        """Whether nothing has grown by more than 5 %; of what is counted, by more than comes and goes."""
        return (
            all(grown <= 0.05 * getattr(self.warm, name) for name, grown in self.memory.items())
            and self.last.threads <= self.warm.threads
            and self.last.files <= 1.1 * self.warm.files
            and self.last.keys <= 1.2 * self.warm.keys
        )

    def a_stage(self, name: str) -> float:
        """Bytes more for each stage that was run meanwhile."""
        return self.memory[name] / (self.last.stages - self.warm.stages)

    def __str__(self) -> str:
        memory = ", ".join(
            f"{name} {grown / 1e6:+.2f} MB ({self.a_stage(name):+.1f} B a stage)"
            for name, grown in self.memory.items()
        )
        return (
            f"{self.last.stages - self.warm.stages:,} stages later: {memory}, "
            f"files {self.last.files - self.warm.files:+}, "
            f"threads {self.last.threads - self.warm.threads:+}, "
            f"keys {self.last.keys - self.warm.keys:+}"
        )
